package main

import (
	"fmt"
	"io"
	"regexp"
	"strings"
)

// secrets matches what must never appear in a terminal: tokens after their public prefix, and service account tokens.
var secrets = regexp.MustCompile(`(nxc_(?:live|test)_[0-9A-Za-z]{8})[0-9A-Za-z]{49}|eyJ[\w-]{8,}\.[\w-]+\.[\w-]+`)

// redact shortens each token to the part by which people recognise it.
func redact(text string) string {
	return secrets.ReplaceAllString(text, "${1}…")
}

// transcript prints what the demo does. Everything passes through redact, so no step has to remember to.
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

// line prints a line of a step.
func (t transcript) line(format string, args ...any) {
	t.print("    " + fmt.Sprintf(format, args...))
}

// block prints what a command printed.
func (t transcript) block(text string) {
	for line := range strings.Lines(strings.TrimRight(text, "\n")) {
		t.print("    " + strings.TrimRight(line, " \n"))
	}
}

func (t transcript) print(text string) {
	// If this fails, nobody reads it any more, and SIGPIPE has already asked the demo to stop.
	_, _ = fmt.Fprintln(t.out, redact(text))
}

// harmless matches words that a shell does not change.
var harmless = regexp.MustCompile(`^[-\w./:=@,+]+$`)

// shell returns a command line that a shell splits into exactly these words.
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

// shorten limits the length of a line.
func shorten(text string, length int) string {
	runes := []rune(text)
	if len(runes) <= length {
		return text
	}
	return string(runes[:length]) + "…"
}
