package console

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Cookies. The prefix has browsers take them from this host only, over TLS, for all paths. Own has none: see own.go.
const (
	sessionCookie = "__Host-apikey-session"
	visitCookie   = "__Host-apikey-visit"
)

const (
	// maxToken is how long a bearer token may be.
	maxToken = 12 << 10
	// cookieSize is how much of a session a cookie holds: browsers take 4 KiB with name and attributes. Tokens of OpenID
	// Connect with many groups are longer.
	cookieSize = 3800
	// maxCookies are as many as the longest token takes, sealed and in base64.
	maxCookies = 6
)

// session is what a log-in leaves with the browser, sealed.
type session struct {
	// ID and Begun are for what was signed out of (endings).
	ID        string    `json:"i"`
	Begun     time.Time `json:"b"`
	Token     string    `json:"t"`
	User      string    `json:"u"`
	Namespace string    `json:"n,omitempty"`
	Ends      time.Time `json:"e"`
}

// visitor returns whose request it is. The error is errNobody or errEnded, or errForged for a change that the page has not
// asked for.
func (c *Console) visitor(w http.ResponseWriter, r *http.Request) (*visitor, error) {
	v, token, err := c.visitorOf(r)
	if err != nil {
		return nil, err
	}
	if v.client, err = c.clientOf(token); err != nil || c.options.Own {
		return v, err // What lets the one user of Own in is sent by our own script, and comes from nowhere else.
	}
	if v.csrf == "" {
		v.csrf = c.seal.proof(c.nonce(w, r))
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead && !sameSecret(v.csrf, r.Header.Get("X-CSRF-Token")) {
		return nil, errForged
	}
	return v, nil
}

// visitorOf returns the user of a request, without a client, and the user's token.
func (c *Console) visitorOf(r *http.Request) (v *visitor, token string, err error) {
	if c.options.Own {
		if sent := r.Header.Values(ownHeader); len(sent) != 1 || !sameSecret(sent[0], c.start.session) {
			return nil, "", errNobody
		}
		return &visitor{namespace: c.options.Namespace}, "", nil
	}
	if token := c.proxiedToken(r); token != "" {
		return &visitor{namespace: c.options.Namespace}, token, nil
	}
	s, err := c.session(r)
	if err != nil {
		return nil, "", err
	}
	return &visitor{user: s.User, namespace: s.Namespace, ends: s.Ends, session: s}, s.Token, nil
}

// proxiedToken returns the token of a user whom a proxy has signed in, or "" where none has.
func (c *Console) proxiedToken(r *http.Request) string {
	if !c.options.Header {
		return ""
	}
	return bearer(r)
}

// bearer returns the one bearer token of a request, or "" where there is none.
func bearer(r *http.Request) string {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return ""
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") || !tokenShaped(token) {
		return ""
	}
	return token
}

// tokenShaped says whether a text can be a bearer token: something, not too much of it, and nothing that a header can't hold.
func tokenShaped(text string) bool {
	return text != "" && len(text) <= maxToken && !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || r == ',' })
}

// session returns what a log-in has left with the browser.
func (c *Console) session(r *http.Request) (*session, error) {
	var sealed strings.Builder
	for i := range maxCookies {
		cookie, err := r.Cookie(nthCookie(i))
		if err != nil {
			break
		}
		sealed.WriteString(cookie.Value)
	}
	if sealed.Len() == 0 {
		return nil, errNobody
	}
	content, err := c.seal.open(sessionCookie, sealed.String())
	if err != nil {
		return nil, errEnded // Sealed by a replica with another key, or before a restart.
	}
	s := &session{}
	if err := json.Unmarshal(content, s); err != nil || !c.options.Now().Before(s.Ends) || c.signOuts.ended(s) {
		return nil, errEnded
	}
	return s, nil
}

// begin leaves a session with the browser.
func (c *Console) begin(w http.ResponseWriter, s *session) error {
	s.ID, s.Begun = rand.Text(), c.options.Now()
	content, err := json.Marshal(s)
	if err != nil {
		return err
	}
	sealed := c.seal.seal(sessionCookie, content)
	for i := range maxCookies {
		part := sealed[:min(len(sealed), cookieSize)]
		sealed = sealed[len(part):]
		setCookie(w, nthCookie(i), part)
	}
	setCookie(w, visitCookie, rand.Text()) // So that what was known before the log-in is of no use after it.
	return nil
}

// end takes the session from the browser.
func (*Console) end(w http.ResponseWriter) {
	for i := range maxCookies {
		setCookie(w, nthCookie(i), "")
	}
}

func nthCookie(i int) string {
	if i == 0 {
		return sessionCookie
	}
	return sessionCookie + "-" + strconv.Itoa(i)
}

// setCookie has the browser keep a value until it is closed, or with a blank one forget it.
func setCookie(w http.ResponseWriter, name, value string) {
	cookie := &http.Cookie{Name: name, Value: value, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode}
	if value == "" {
		cookie.MaxAge = -1
	}
	http.SetCookie(w, cookie)
}

// nonce returns what tells the visits of one browser from those of another, and gives it to a browser that has none.
func (*Console) nonce(w http.ResponseWriter, r *http.Request) string {
	if cookie, err := r.Cookie(visitCookie); err == nil && cookie.Value != "" {
		return cookie.Value
	}
	nonce := rand.Text()
	setCookie(w, visitCookie, nonce)
	return nonce
}
