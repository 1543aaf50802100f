package console

import (
	"log"
	"mime"
	"net/http"

	"github.com/go-logr/logr"
)

// policy allows a page to load only this console's own files and to run no inline scripts. No script may make markup
// from text (Trusted Types).
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// protect sets the security headers of every answer.
func protect(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", policy)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=()")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
}

// fromElsewhere reports whether a request was caused by another site, except for opening a page by a link.
func fromElsewhere(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return false
	}
	return r.Header.Get("Sec-Fetch-Mode") != "navigate" || r.Header.Get("Sec-Fetch-Dest") != "document"
}

// Kinds of bodies: what our form sends, and what our scripts send. A form of another site can send the one, never the
// other.
const (
	formKind = "application/x-www-form-urlencoded"
	jsonKind = "application/json"
)

// takes returns a handler that accepts only bodies of a kind.
func takes(kind string, handle http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		sent := r.Header.Values("Content-Type")
		if len(sent) == 1 {
			if is, _, err := mime.ParseMediaType(sent[0]); err == nil && is == kind {
				handle(w, r)
				return
			}
		}
		w.Header().Set("Accept-Post", kind)
		answerJSON(w, http.StatusUnsupportedMediaType,
			&problem{Reason: reasonInvalid, Message: "Send this with Content-Type: " + kind + "."})
	}
}

// quiet returns a logger for a server's messages about connections. Which ones broke is of interest only when
// debugging.
func quiet(to logr.Logger) *log.Logger { return log.New(lines{to}, "", 0) }

type lines struct{ to logr.Logger }

// Write implements io.Writer.
func (l lines) Write(message []byte) (int, error) {
	l.to.V(1).Info("A connection failed", "error", string(message))
	return len(message), nil
}
