package console

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Cookies. With this prefix, browsers accept them only from this host, over TLS, for all paths. Own has none: see
// own.go.
const (
	sessionCookie = "__Host-apikey-session"
	visitCookie   = "__Host-apikey-visit"
)

const (
	// maxToken is the maximum length of a bearer token.
	maxToken = 12 << 10
	// cookieSize is how much of a session one cookie holds: browsers limit it to 4 KiB with name and attributes. Tokens of
	// OpenID Connect with many groups are longer.
	cookieSize = 3800
	// maxCookies is as many as the longest token needs, sealed and in base64.
	maxCookies = 6
)

// session is what the browser keeps, sealed, after a user has signed in.
type session struct {
	// ID and Begun are what signOuts remembers a session by.
	ID        string    `json:"i"`
	Begun     time.Time `json:"b"`
	Token     string    `json:"t"`
	User      string    `json:"u"`
	Namespace string    `json:"n,omitempty"`
	Ends      time.Time `json:"e"`
}

// visitor returns the user of a request. The error is errNobody or errEnded, or errForged for a change that our page
// has not requested.
func (c *Console) visitor(w http.ResponseWriter, r *http.Request) (*visitor, error) {
	v, token, err := c.visitorOf(r)
	if err != nil {
		return nil, err
	}
	if v.client, err = c.clientOf(token); err != nil || c.options.Own {
		return v, err // The secret of Own is sent by our own script only.
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

// proxiedToken returns the token of a user whom a proxy has signed in, or "" if there is none.
func (c *Console) proxiedToken(r *http.Request) string {
	if !c.options.Header {
		return ""
	}
	return bearer(r)
}

// bearer returns the only bearer token of a request, or "" if there is none.
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

// tokenShaped reports whether a text can be a bearer token: not blank, not too long, and without characters that a
// header can't have.
func tokenShaped(text string) bool {
	return text != "" && len(text) <= maxToken &&
		!strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || r == ',' })
}

// session returns the session that the browser's cookies hold.
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

// begin begins a session, and sets its cookies.
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
	setCookie(w, visitCookie, rand.Text()) // So that values from before the log-in are of no use after it.
	return nil
}

// end deletes the session's cookies.
func (*Console) end(w http.ResponseWriter) {
	for i := range maxCookies {
		setCookie(w, nthCookie(i), "")
	}
}

// nthCookie returns the name of the nth cookie of a session.
func nthCookie(i int) string {
	if i == 0 {
		return sessionCookie
	}
	return sessionCookie + "-" + strconv.Itoa(i)
}

// setCookie sets a cookie that lasts until the browser is closed; a blank value deletes it.
func setCookie(w http.ResponseWriter, name, value string) {
	cookie := &http.Cookie{
		Name:     name,
		Value:    value,
		Path:     "/",
		Secure:   true,
		HttpOnly: true,
		SameSite: http.SameSiteStrictMode,
	}
	if value == "" {
		cookie.MaxAge = -1
	}
	http.SetCookie(w, cookie)
}

// nonce returns the random value that tells one browser from another, and sets it for a browser that has none.
func (*Console) nonce(w http.ResponseWriter, r *http.Request) string {
	if cookie, err := r.Cookie(visitCookie); err == nil && cookie.Value != "" {
		return cookie.Value
	}
	nonce := rand.Text()
	setCookie(w, visitCookie, nonce)
	return nonce
}
