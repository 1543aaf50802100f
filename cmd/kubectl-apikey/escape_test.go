package main

import (
	"bytes"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/nexuscommerce/apikey-operator/internal/keys"
	"github.com/nexuscommerce/apikey-operator/internal/printable"
)

// TestNamesAreEscaped checks that what users write is only shown in a terminal, and never acted on. An object that is
// older than the rules for names may have anything.
func TestNamesAreEscaped(t *testing.T) {
	const evil = "x\r\u202egnp.exe\x1b[2J\u009b2J\b"
	var out bytes.Buffer
	s := newInvocation(genericiooptions.IOStreams{In: strings.NewReader("no\n"), Out: &out, ErrOut: &out})
	s.terminal = func(any) bool { return true }
	if err := table(&out, []string{"NAME", "DISPLAY NAME"}, []string{"a", evil + "\nb  forged"}); err != nil {
		t.Fatal(err)
	}
	s.say("Key %s", evil)
	s.warn("Key %s", evil)
	s.warnings().HandleWarningHeader(299, "-", "Key "+evil)
	_ = s.confirm("Revoke "+evil+"?", false)
	c := &change{invocation: s}
	_ = c.ask([]keys.Row{{Namespace: "shop", Name: "a", DisplayName: evil + "\n  shop/forged"}}, "Revoke", false)
	for line := range strings.SplitSeq(out.String(), "\n") {
		if !printable.Is(strings.ReplaceAll(line, "\t", " ")) {
			t.Errorf("%q", line)
		}
		if strings.HasPrefix(line, "b ") || strings.HasPrefix(line, "  shop/forged") {
			t.Errorf("a name has a line of its own: %q", line)
		}
	}
	if !strings.Contains(out.String(), `\u001b[2J`) {
		t.Errorf("the name isn't shown: %q", out.String())
	}
}
