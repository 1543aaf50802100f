package main

import (
	"fmt"
	"io"
	"regexp"
	"strings"
)

// secrets is whatever must never be read in a terminal: tokens after their public prefix, and service account tokens.
var secrets = regexp.MustCompile(`(nxc_(?:live|test)_[0-9A-Za-z]{8})[0-9A-Za-z]{49}|eyJ[\w-]{8,}\.[\w-]+\.[\w-]+`)

// redact leaves of each token what a person recognises it by.
func redact(text string) string {
	return secrets.ReplaceAllString(text, "${1}…")
}

// transcript tells whoever runs the demo what it does. Everything passes through redact: no step has to remember to.
type transcript struct {
	out io.Writer
}

// step begins a step.
func (t transcript) step(format string, args ...any) {
	t.print("==> " + fmt.Sprintf(format, args...))
}

// typed shows a command as a person would type it.
func (t transcript) typed(command string) {
	t.print("    $ " + command)
}

// line says something within a step.
func (t transcript) line(format string, args ...any) {
	t.print("    " + fmt.Sprintf(format, args...))
}

// block shows what a command printed.
func (t transcript) block(text string) {
	for line := range strings.Lines(strings.TrimRight(text, "\n")) {
		t.print("    " + strings.TrimRight(line, " \n"))
	}
}

func (t transcript) print(text string) {
	// Nobody reads any more where this fails; SIGPIPE has then already told the demo to end.
	_, _ = fmt.Fprintln(t.out, redact(text))
}

// harmless is what a shell leaves as it is.
var harmless = regexp.MustCompile(`^[-\w./:=@,+]+$`)

// shell is a command line that a shell takes apart into just these words.
func shell(words ...string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		if harmless.MatchString(word) {
			quoted[i] = word
		} else {
			quoted[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}

// shorten keeps a line readable in a terminal.
func shorten(text string, length int) string {
	runes := []rune(text)
	if len(runes) <= length {
		return text
	}
	return string(runes[:length]) + "…"
}
