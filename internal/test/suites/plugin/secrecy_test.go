package plugin_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/nexuscommerce/apikey-operator/internal/test/harness/processes"
)

// TestTokensAreNowhereElse (S2) runs every command, with the most talkative log, on keys whose tokens are known, and
// looks for these in all that was printed, in all that was left on disk, and in what every process of this machine was
// started with meanwhile. It fails where -v=8 is let through beside --show, where describe reads the Secret, where
// identify repeats what it was given, and where create --show has another program print the token.
func TestTokensAreNowhereElse(t *testing.T) { runScripts(t, sharedCluster(t), "testdata/secrecy") }

// secrecyCommands are what its script has beyond commands.
//
//	processes watch               watches the list of processes from now on
//	processes stop ARG...         ends that, and checks that a command with these arguments was seen
//	paste TOKEN kubectl ARG...    runs a command once for each form in which people paste a token, on standard input
//	mistake TOKEN                 puts a token on command lines, which are refused
//	nowhere FOLDER N              checks that none of the N tokens in a folder is anywhere else
var secrecyCommands = map[string]func(*testscript.TestScript, bool, []string){
	"processes": watchProcesses,
	"paste":     pasteToken,
	"mistake":   mistakeToken,
	"nowhere":   checkNowhere,
}

// watched is what was seen of the list of processes.
type watched struct {
	watch *processes.Watch
	seen  []processes.Process
}

func watchProcesses(ts *testscript.TestScript, neg bool, args []string) {
	s := scriptRunOf(ts)
	switch {
	case !neg && len(args) == 1 && args[0] == "watch":
		s.watched.watch = processes.Start(s.t)
	case !neg && len(args) > 1 && args[0] == "stop" && s.watched.watch != nil:
		s.watched.seen = s.watched.watch.Seen()
		line := strings.Join(args[1:], "\x00")
		if !slices.ContainsFunc(s.watched.seen, func(p processes.Process) bool { return strings.Contains(p.Line, line) }) {
			ts.Fatalf("the command is not among the %d processes that were seen", len(s.watched.seen))
		}
	default:
		ts.Fatalf("usage: processes watch, and then: processes stop ARG...")
	}
}

func pasteToken(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 || args[1] != "kubectl" {
		ts.Fatalf("usage: paste TOKEN kubectl ARG...")
	}
	s, text := scriptRunOf(ts), tokenIn(ts, args[0]).Reveal()
	for _, form := range []string{text, "Bearer " + text, text[:40], text + "0", text[:30] + "-" + text[31:],
		text + " " + text} {
		in := s.parse(ts, false, args[2:])
		in.input, in.anyEnd = []byte(form), true
		s.run(ts, in)
	}
}

func mistakeToken(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: mistake TOKEN")
	}
	s, text := scriptRunOf(ts), tokenIn(ts, args[0]).Reveal()
	for _, words := range [][]string{{"identify", text}, {text}, {"list", "-n", text}, {"list", "--" + text}} {
		s.run(ts, s.parse(ts, true, append([]string{"apikey"}, words...)))
		checkCode(ts, false, []string{"2"})
	}
}

func checkNowhere(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: nowhere FOLDER N")
	}
	s, folder := scriptRunOf(ts), ts.MkAbs(args[0])
	entries, err := os.ReadDir(folder)
	ts.Check(err)
	if want, err := strconv.Atoi(args[1]); err != nil || len(entries) != want {
		ts.Fatalf("there are %d tokens in %s", len(entries), args[0])
	}
	places := s.places(ts, folder)
	if !strings.Contains(places["output"], "Response Body") {
		ts.Fatalf("client-go's log is not there to be looked at")
	}
	for _, entry := range entries {
		secret := secretOf(tokenIn(ts, filepath.Join(folder, entry.Name())).Reveal())
		for place, content := range places {
			if strings.Contains(content, secret) || strings.Contains(content, secret[:20]) {
				ts.Fatalf("the token %s, or half of it, is in %s", entry.Name(), place)
			}
		}
	}
}

// places returns where a token could be left, by what people call it: everywhere but in the folder of tokens.
func (s *scriptRun) places(ts *testscript.TestScript, tokens string) map[string]string {
	places := map[string]string{
		"output": s.printed.String(), "the controller's log": s.cluster.Controller.Log(),
		"the verifier's log": s.cluster.Verifier.Log(),
	}
	if len(s.watched.seen) == 0 {
		ts.Fatalf("nobody has watched the list of processes")
	}
	for _, process := range s.watched.seen {
		places["what process "+process.Name+" was started with"] += process.Line + process.Environment
	}
	ts.Check(filepath.WalkDir(ts.Getenv("WORK"), func(path string, entry os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path == tokens:
			return filepath.SkipDir
		case entry.IsDir():
			return nil
		}
		content, err := os.ReadFile(path)
		places["file "+path] = string(content)
		return err
	}))
	return places
}
