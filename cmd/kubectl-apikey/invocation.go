package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/nexuscommerce/apikey-operator/internal/keys"
	"github.com/nexuscommerce/apikey-operator/internal/version"
)

// invocation is what the commands of one run share: streams, configuration and clock.
type invocation struct {
	genericiooptions.IOStreams
	config *genericclioptions.ConfigFlags
	flags  *flag.FlagSet
	now    func() time.Time
	// terminal reports whether a stream is a terminal.
	terminal func(stream any) bool
	// password reads a line from the terminal without showing it.
	password func() (string, error)
}

func newInvocation(streams genericiooptions.IOStreams) *invocation {
	s := &invocation{
		IOStreams: streams,
		config:    genericclioptions.NewConfigFlags(true),
		flags:     flag.NewFlagSet("klog", flag.ContinueOnError),
		now:       time.Now,
		terminal:  isTerminal,
	}
	s.password = s.readPassword
	klog.InitFlags(s.flags)
	log.SetLogger(klog.Background()) // Without one, controller-runtime complains after half a minute.
	return s
}

// isTerminal reports whether a stream is a terminal.
func isTerminal(stream any) bool {
	file, ok := stream.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(file.Fd()))
}

// readPassword reads a line from the terminal without showing it.
func (s *invocation) readPassword() (string, error) {
	file, ok := s.In.(interface{ Fd() uintptr })
	if !ok {
		return "", fmt.Errorf("standard input is no terminal")
	}
	line, err := term.ReadPassword(int(file.Fd()))
	fmt.Fprintln(s.ErrOut)
	return string(line), err
}

// addFlags adds kubectl's own flags, which all commands have.
func (s *invocation) addFlags(root *cobra.Command) {
	s.config.AddFlags(root.PersistentFlags())
	v := s.flags.Lookup("v")
	v.Usage = "Number for the log level verbosity, as with kubectl: 6 shows requests, 8 and more what is in them."
	root.PersistentFlags().AddGoFlag(v)
	_ = root.RegisterFlagCompletionFunc("namespace", s.completeNamespaces) // It fails only for a flag that does not exist.
}

// showsBodies reports whether client-go's log shows the bodies of the API server's answers.
func (s *invocation) showsBodies() bool { return klog.V(8).Enabled() }

// connect returns a client with the user's rights.
func (s *invocation) connect() (*keys.Client, error) {
	config, err := s.restConfig()
	if err != nil {
		return nil, err
	}
	return keys.NewClient(config)
}

// restConfig returns the configuration for the API server, with the user's credentials.
func (s *invocation) restConfig() (*rest.Config, error) {
	config, err := s.config.ToRESTConfig()
	if err != nil {
		return nil, err
	}
	config.UserAgent = "kubectl-apikey/" + version.String()
	// The API server limits its clients itself; revoking many leaked keys can't wait for a client's own limit.
	config.QPS = -1
	config.WarningHandler = s.warnings()
	return config, nil
}

// warnings returns what prints the API server's warnings, in which policies may quote what users write.
func (s *invocation) warnings() rest.WarningHandler {
	return rest.NewWarningWriter(escaping{s.ErrOut}, rest.WarningWriterOptions{Deduplicate: true})
}

// escaping writes lines with every character escaped that is not printable.
type escaping struct{ to io.Writer }

// Write implements io.Writer. It is given whole lines.
func (e escaping) Write(text []byte) (int, error) {
	_, err := io.WriteString(e.to, printableLines(string(text)))
	return len(text), err
}

// namespace returns the namespace of --namespace or of the context.
func (s *invocation) namespace() (string, error) {
	namespace, _, err := s.config.ToRawKubeConfigLoader().Namespace()
	return namespace, err
}

// begin returns a client and the selected namespace.
func (s *invocation) begin() (client *keys.Client, namespace string, err error) {
	if namespace, err = s.namespace(); err != nil {
		return nil, "", err
	}
	client, err = s.connect()
	return client, namespace, err
}

// say prints a message to standard error: it is no result.
func (s *invocation) say(format string, args ...any) {
	fmt.Fprintln(s.ErrOut, printableLines(fmt.Sprintf(format, args...)))
}

// warn prints a warning to standard error.
func (s *invocation) warn(format string, args ...any) { s.say("Warning: "+format, args...) }

// confirm asks whether to go on, and returns nil if so. Without a terminal, --yes is needed.
func (s *invocation) confirm(question string, yes bool) error {
	if yes {
		return nil
	}
	if !s.terminal(s.In) {
		return &exitError{
			exitDeclined,
			"nobody can be asked here: standard input is no terminal. Add --yes, or see first what --dry-run says",
		}
	}
	fmt.Fprint(s.ErrOut, printableLines(question)+" [y/N] ")
	answer, _ := bufio.NewReader(s.In).ReadString('\n') // An answer that can't be read is no yes.
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return &exitError{exitDeclined, "nothing was changed"}
}
