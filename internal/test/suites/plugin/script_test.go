package plugin_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/controlplane"
	"github.com/nexuscommerce/apikey-operator/internal/test/harness/install"
	"github.com/nexuscommerce/apikey-operator/internal/token"
)

// TestScripts runs the scripts in testdata.
func TestScripts(t *testing.T) { runScripts(t, sharedCluster(t), "testdata") }

// TestBroken runs the scripts that break the cluster, each part of the product after the other.
func TestBroken(t *testing.T) { runScripts(t, newCluster(t), "testdata/broken") }

// TestKrew runs the script that builds what krew installs, which needs no cluster.
func TestKrew(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/release", RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			for _, name := range []string{"HOME", "GOCACHE", "GOFLAGS", "GOPATH", "GOMODCACHE", "GOTOOLCHAIN", "GOPROXY"} {
				if value := os.Getenv(name); value != "" {
					env.Setenv(name, value)
				}
			}
			env.Setenv("ROOT", controlplane.Root())
			env.Setenv("OS", runtime.GOOS)
			env.Setenv("ARCH", runtime.GOARCH)
			env.Setenv("PLATFORM", runtime.GOOS+"/"+runtime.GOARCH)
			return nil
		}})
}

// commands are what scripts have beyond testscript's own commands.
//
//	[!] kubectl ARG... [< FILE] [> FILE]     runs the plugin for "kubectl apikey", else kubectl
//	[!] as USER kubectl ARG...               does so with the rights of a user
//	[!] terminal kubectl apikey ARG...       runs the plugin on a terminal; the screen is its standard output
//	code N                                   checks an exit code; it must follow every "! kubectl apikey"
//	user NAME CLUSTERROLE                    creates a user with a role in the script's namespace
//	read VARIABLE FILE                       sets a variable to what a file holds, or stdout
//	[!] same FILE FILE                       compares files without printing them
//	token FILE                               checks that a file is a token, and prints its prefix and its digest
//	[!] holds FILE TOKEN                     checks that a file holds the token of another file once, or nothing of it
//	stop-controller                          ends the controller
//
// A token may be nowhere but in files, where ">" or the plugin has put it: a command that prints one fails the script.
var commands = map[string]func(*testscript.TestScript, bool, []string){
	"kubectl":  func(ts *testscript.TestScript, neg bool, args []string) { scriptRunOf(ts).kubectl(ts, neg, args) },
	"as":       runAs,
	"terminal": runOnTerminal,
	"code":     checkCode,
	"user":     createUser,
	"read":     readVariable,
	"same":     compareFiles,
	"token":    checkToken,
	"holds":    checkHolds,
	"stop-controller": func(ts *testscript.TestScript, _ bool, _ []string) {
		scriptRunOf(ts).cluster.Controller.Kill()
	},
}

// runScripts runs the scripts of a folder against a cluster.
func runScripts(t *testing.T, c *cluster, folder string) {
	t.Helper()
	all := maps.Clone(commands)
	maps.Copy(all, secrecyCommands)
	testscript.Run(t, testscript.Params{Dir: folder, RequireUniqueNames: true, Cmds: all, Setup: c.setUp})
}

// setUp gives a script its tenant, its namespace and its kubeconfig.
func (c *cluster) setUp(env *testscript.Env) error {
	t, ok := env.T().(testing.TB)
	if !ok {
		return fmt.Errorf("%T is no test", env.T())
	}
	name := strings.TrimPrefix(filepath.Base(env.WorkDir), "script-")
	s := &scriptRun{t: t, cluster: c, namespace: name + "-shop"}
	env.Values[scriptRunKey{}] = s
	env.Defer(s.end)
	if err := c.newTenant(t.Context(), s.namespace); err != nil {
		return err
	}
	home := filepath.Join(env.WorkDir, "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		return err
	}
	kubeconfig := filepath.Join(env.WorkDir, "kubeconfig")
	env.Setenv("HOME", home)
	env.Setenv("PATH", c.path+string(os.PathListSeparator)+os.Getenv("PATH"))
	env.Setenv("KUBECONFIG", kubeconfig)
	env.Setenv("TOKEN", "go-template={{.data.token|base64decode}}") // For kubectl get secret -o.
	return c.kubeconfig(kubeconfig, s.namespace, "admin-of-"+s.namespace, "system:masters")
}

// scriptRun is what a script has done so far.
type scriptRun struct {
	t         testing.TB
	cluster   *cluster
	namespace string
	// printed is all that commands have printed to the script, and not to a file.
	printed strings.Builder
	// tokens are those that are in the files that commands have read or written.
	tokens []string
	// code is the exit code of the last command, and unchecked the command if a script has yet to say which it expects.
	code      int
	unchecked string
	watched   watched
}

type scriptRunKey struct{}

func scriptRunOf(ts *testscript.TestScript) *scriptRun {
	s, ok := ts.Value(scriptRunKey{}).(*scriptRun)
	if !ok {
		ts.Fatalf("this script has no cluster")
	}
	return s
}

// end fails a script that does not say how its last command has to end.
func (s *scriptRun) end() {
	if s.unchecked != "" && !s.t.Failed() {
		s.t.Errorf("%s: the script does not say which exit code: code %d", s.unchecked, s.code)
	}
}

// invocation is a command line with its redirections.
type invocation struct {
	program         string
	args            []string
	input           []byte
	stdout          string // the file that standard output goes to, blank for the script
	kubeconfig      string
	fails, anyEnd   bool
	mustSayExitCode bool
}

// parse reads a command line from its words, the first of which is kubectl.
func (s *scriptRun) parse(ts *testscript.TestScript, neg bool, words []string) *invocation {
	in := &invocation{program: s.cluster.Kubectl, kubeconfig: ts.Getenv("KUBECONFIG"), fails: neg}
	for i := 0; i < len(words); i++ {
		switch {
		case words[i] == "<" && i+1 < len(words):
			i++
			in.input = []byte(ts.ReadFile(words[i]))
			s.remember(in.input)
		case words[i] == ">" && i+1 < len(words):
			i++
			in.stdout = ts.MkAbs(words[i])
		default:
			in.args = append(in.args, words[i])
		}
	}
	if len(in.args) > 0 && in.args[0] == "apikey" {
		in.program, in.args, in.mustSayExitCode = s.cluster.plugin, in.args[1:], neg
	}
	return in
}

func (s *scriptRun) kubectl(ts *testscript.TestScript, neg bool, words []string) {
	s.run(ts, s.parse(ts, neg, words))
}

// run runs a command, and fails the script unless it ends as expected and prints no token.
func (s *scriptRun) run(ts *testscript.TestScript, in *invocation) {
	if s.unchecked != "" {
		ts.Fatalf("%s: the script does not say which exit code: code %d", s.unchecked, s.code)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*timeout)
	defer cancel()
	var stdout, stderr bytes.Buffer
	command := exec.CommandContext(ctx, in.program, in.args...)
	command.Dir = ts.MkAbs(".")
	command.Stdin, command.Stdout, command.Stderr = bytes.NewReader(in.input), &stdout, &stderr
	for _, name := range []string{"PATH", "HOME", "TMPDIR"} {
		command.Env = append(command.Env, name+"="+ts.Getenv(name))
	}
	command.Env = append(command.Env, "KUBECONFIG="+in.kubeconfig)
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		ts.Fatalf("%v", err)
	}
	if in.stdout != "" {
		s.remember(stdout.Bytes())
		ts.Check(os.WriteFile(in.stdout, stdout.Bytes(), 0o600))
		stdout.Reset()
	}
	s.printed.Write(stdout.Bytes())
	s.printed.Write(stderr.Bytes())
	leaked := s.print(ts, stdout.String(), stderr.String())
	s.code = command.ProcessState.ExitCode()
	switch {
	case leaked:
		ts.Fatalf("the command has printed a token")
	case !in.anyEnd && (s.code != 0) != in.fails:
		ts.Fatalf("exit code %d", s.code)
	case in.mustSayExitCode:
		s.unchecked = filepath.Base(in.program)
	}
}

// wholeToken matches a token.
var wholeToken = regexp.MustCompile(`nxc_(live|test)_[0-9A-Za-z]{57}`)

// remember keeps the tokens in what a file holds, so that they are found where they must not be.
func (s *scriptRun) remember(content []byte) {
	for _, found := range wholeToken.FindAll(content, -1) {
		s.tokens = append(s.tokens, string(found))
	}
}

// print gives a script what a command has printed, without tokens, and reports whether there was one, or half of one.
func (s *scriptRun) print(ts *testscript.TestScript, stdout, stderr string) (leaked bool) {
	clean := func(text string) string {
		masked := wholeToken.ReplaceAllString(text, "TOKEN")
		for _, known := range s.tokens {
			masked = strings.ReplaceAll(masked, secretOf(known)[:20], "TOKEN")
		}
		leaked = leaked || masked != text
		return masked
	}
	_, _ = fmt.Fprint(ts.Stdout(), clean(stdout))
	_, _ = fmt.Fprint(ts.Stderr(), clean(stderr))
	return leaked
}

// secretOf returns the secret part of a token: the rest can be derived from it or is public.
func secretOf(text string) string { return text[17:60] }

func runAs(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || args[1] != "kubectl" {
		ts.Fatalf("usage: as USER kubectl ARG...")
	}
	s := scriptRunOf(ts)
	in := s.parse(ts, neg, args[2:])
	in.kubeconfig = ts.MkAbs(args[0] + ".kubeconfig")
	s.run(ts, in)
}

func checkCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: code N")
	}
	s := scriptRunOf(ts)
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	s.unchecked = ""
	if s.code != want {
		ts.Fatalf("exit code %d, want %d", s.code, want)
	}
}

func createUser(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: user NAME CLUSTERROLE")
	}
	s := scriptRunOf(ts)
	user := args[0] + "-of-" + s.namespace
	ts.Check(s.cluster.kubeconfig(ts.MkAbs(args[0]+".kubeconfig"), s.namespace, user))
	install.Kubectl(s.t, s.cluster.ControlPlane, "create", "rolebinding", "-n", s.namespace, args[0],
		"--clusterrole="+args[1], "--user="+user)
}

func readVariable(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: read VARIABLE FILE")
	}
	content := strings.TrimSpace(ts.ReadFile(args[1]))
	scriptRunOf(ts).remember([]byte(content))
	ts.Setenv(args[0], content)
}

func compareFiles(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: same FILE FILE")
	}
	if same := ts.ReadFile(args[0]) == ts.ReadFile(args[1]); same == neg {
		ts.Fatalf("%s is the same as %s: %t", args[0], args[1], same)
	}
}

// tokenIn returns the token that is all that a file holds, but for a line feed.
func tokenIn(ts *testscript.TestScript, file string) token.Token {
	parsed, err := token.Parse(strings.TrimSuffix(ts.ReadFile(file), "\n"))
	if err != nil {
		ts.Fatalf("%s: %v", file, err)
	}
	return parsed
}

func checkToken(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: token FILE")
	}
	parsed := tokenIn(ts, args[0])
	_, _ = fmt.Fprintf(ts.Stdout(), "%s\n%s\n", parsed.Prefix(), parsed.Digest())
}

func checkHolds(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: holds FILE TOKEN")
	}
	content, text := ts.ReadFile(args[0]), tokenIn(ts, args[1]).Reveal()
	secret := secretOf(text)
	switch {
	case neg && (strings.Contains(content, secret) || strings.Contains(content, secret[:20])):
		ts.Fatalf("the token, or half of it, is in %s", args[0])
	case !neg && strings.Count(content, text) != 1:
		ts.Fatalf("the token is in %s %d times, not once", args[0], strings.Count(content, text))
	}
}
