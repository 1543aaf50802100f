package console

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	// peersPath is where replicas exchange sign-outs. Without the sessions' key, nobody learns anything there.
	peersPath = "/peers/endings"
	// peerHeader has the proof that a message is from a replica.
	peerHeader = "X-Apikey-Peer"
	// pullEvery is how often a replica asks the others for sign-outs that it may have missed, and peerTimeout bounds their
	// answers.
	pullEvery   = 5 * time.Second
	peerTimeout = 3 * time.Second
	// maxTold is the maximum size of a message about one session, and maxList that of a list of them.
	maxTold, maxList = 1 << 10, 8 << 20
)

// peers are the replicas of a console. Sessions are in cookies that all of them can read, so all must know of each
// sign-out: the replica that handles it tells the others before it answers, and each asks the others when it starts and
// every few seconds. Their messages are authenticated by the sessions' key, which they share; TLS only keeps the
// messages secret.
type peers struct {
	// find returns the addresses of all replicas, including this one.
	find     func(ctx context.Context) ([]string, error)
	scheme   string
	client   *http.Client
	seal     *sealer
	signOuts *signOuts
	now      func() time.Time
}

func newPeers(o *Options, seal *sealer, known *signOuts) *peers {
	p := &peers{find: o.Peers, scheme: "https", seal: seal, signOuts: known, now: o.Now, client: &http.Client{
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{
				MinVersion: tls.VersionTLS12, InsecureSkipVerify: true, //nolint:gosec // See above.
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if o.PeersInPlainText {
		p.scheme = "http"
	}
	return p
}

// tell tells the other replicas of a sign-out, and returns an error unless each has confirmed it.
func (p *peers) tell(ctx context.Context, ended signOut) error {
	if p.find == nil {
		return nil
	}
	message, err := json.Marshal(ended)
	if err != nil {
		return err
	}
	return p.each(ctx, func(ctx context.Context, address string) error {
		answer, proof, err := p.send(ctx, http.MethodPost, address, "tell", message)
		if err == nil && !p.proves(proof, "told", message, answer) {
			err = errNoPeer
		}
		return err
	})
}

// pull takes over the other replicas' sign-outs.
func (p *peers) pull(ctx context.Context) error {
	if p.find == nil {
		return nil
	}
	return p.each(ctx, func(ctx context.Context, address string) error {
		nonce := []byte(rand.Text())
		answer, proof, err := p.send(ctx, http.MethodGet, address, "ask", nonce)
		if err != nil {
			return err
		}
		list := &signOutList{}
		if !p.proves(proof, "list", nonce, answer) {
			return errNoPeer
		}
		if err := json.Unmarshal(answer, list); err != nil {
			return err
		}
		p.signOuts.merge(list, p.now())
		return nil
	})
}

// errNoPeer reports that something other than a replica of this console has answered.
var errNoPeer = errors.New("that is no replica with the same --session-key-file")

// each calls do for every replica concurrently. The error names those for which it failed.
func (p *peers) each(ctx context.Context, do func(ctx context.Context, address string) error) error {
	ctx, cancel := context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	addresses, err := p.find(ctx)
	if err != nil {
		return fmt.Errorf("finding the other replicas: %w", err)
	}
	failures := make([]error, len(addresses))
	var group sync.WaitGroup
	for i, address := range addresses {
		group.Go(func() {
			if err := do(ctx, address); err != nil {
				failures[i] = fmt.Errorf("replica %s: %w", address, err)
			}
		})
	}
	group.Wait()
	return errors.Join(failures...)
}

// send sends a message with its proof, and returns the answer with its proof. A GET request has the message in the
// header.
func (p *peers) send(
	ctx context.Context, method, address, purpose string, message []byte,
) (answer []byte, proof string, err error) {
	body, head := message, ""
	if method == http.MethodGet {
		body, head = nil, string(message)+"."
	}
	request, err := http.NewRequestWithContext(ctx, method, p.scheme+"://"+address+peersPath, bytes.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	request.Header.Set(peerHeader, head+p.proof(purpose, message))
	response, err := p.client.Do(request)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, "", fmt.Errorf("it answers %d", response.StatusCode)
	}
	answer, err = io.ReadAll(io.LimitReader(response.Body, maxList))
	return answer, response.Header.Get(peerHeader), err
}

// proof returns the proof that messages belong together and are from a replica.
func (p *peers) proof(purpose string, messages ...[]byte) string {
	var text strings.Builder
	text.WriteString("peer " + purpose)
	for _, message := range messages {
		fmt.Fprintf(&text, " %d %s", len(message), message)
	}
	return p.seal.peerProof(text.String())
}

// proves reports whether a proof is that of the messages.
func (p *peers) proves(proof, purpose string, messages ...[]byte) bool {
	return sameSecret(proof, p.proof(purpose, messages...))
}

// ServeHTTP answers the other replicas.
func (p *peers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet:
		nonce, proof, _ := strings.Cut(r.Header.Get(peerHeader), ".")
		if !p.proves(proof, "ask", []byte(nonce)) {
			break
		}
		content, err := json.Marshal(p.signOuts.list(p.now()))
		if err != nil {
			break
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set(peerHeader, p.proof("list", []byte(nonce), content))
		_, _ = w.Write(content) // A replica that has gone away is no fault.
		return
	case http.MethodPost:
		message, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxTold))
		var ended signOut
		if err != nil || !p.proves(r.Header.Get(peerHeader), "tell", message) || json.Unmarshal(message, &ended) != nil {
			break
		}
		p.signOuts.add(ended, p.now())
		w.Header().Set(peerHeader, p.proof("told", message, nil))
		w.WriteHeader(http.StatusOK)
		return
	}
	http.Error(w, "This is for the replicas of the console.", http.StatusForbidden)
}
