package certificates

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"slices"
	"time"
)

const (
	certificateBlock = "CERTIFICATE"
	keyBlock         = "PRIVATE KEY"
	// backdate is how long before its issue a certificate begins to be valid, for clocks that are behind.
	backdate = time.Hour
)

// pair is a certificate with its private key.
type pair struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// newAuthority makes a certificate authority for these names and those below them, and for nothing else: with its
// stolen key, nobody can pretend to be any other server to clients that trust the authority.
func newAuthority(names []string, now time.Time, life time.Duration) (pair, error) {
	key, serial, err := newKey()
	if err != nil {
		return pair{}, err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return pair{}, err
	}
	fingerprint := sha256.Sum256(public)
	template := &x509.Certificate{
		SerialNumber: serial,
		// Each authority has a name of its own, so that a client that trusts two finds the issuer by name.
		Subject:               pkix.Name{CommonName: "apikey-operator CA " + hex.EncodeToString(fingerprint[:4])},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(life),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},

		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         names,
		ExcludedIPRanges:            []*net.IPNet{everyAddress(net.IPv4len), everyAddress(net.IPv6len)},
	}
	return sign(template, template, key, key)
}

// newServing makes a server's certificate for these names. It doesn't outlive its issuer.
func newServing(issuer pair, names []string, now time.Time, life time.Duration) (pair, error) {
	key, serial, err := newKey()
	if err != nil {
		return pair{}, err
	}
	end := now.Add(life)
	if end.After(issuer.certificate.NotAfter) {
		end = issuer.certificate.NotAfter
	}
	return sign(&x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: names[0]},
		NotBefore:    now.Add(-backdate),
		NotAfter:     end,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     names,
	}, issuer.certificate, key, issuer.key)
}

func newKey() (*ecdsa.PrivateKey, *big.Int, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	var serial [16]byte
	if _, err := io.ReadFull(rand.Reader, serial[:]); err != nil {
		return nil, nil, err
	}
	serial[0] &= 0x7f // RFC 5280: positive.
	return key, new(big.Int).SetBytes(serial[:]), nil
}

func sign(template, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) (pair, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		return pair{}, err
	}
	certificate, err := x509.ParseCertificate(der)
	return pair{certificate, key}, err
}

// everyAddress returns the block of all IP addresses of a length.
func everyAddress(length int) *net.IPNet {
	return &net.IPNet{IP: make(net.IP, length), Mask: make(net.IPMask, length)}
}

// issuedTime returns when a certificate of this package was made.
func issuedTime(certificate *x509.Certificate) time.Time { return certificate.NotBefore.Add(backdate) }

// signedBy reports whether an authority signed a certificate.
func signedBy(certificate, issuer *x509.Certificate) bool {
	return certificate.CheckSignatureFrom(issuer) == nil
}

// encode returns a certificate and its key in PEM.
func (p pair) encode() (certificate, key []byte, err error) {
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		return nil, nil, err
	}
	return encodeCertificates(p.certificate), pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der}), nil
}

// encodeCertificates returns certificates in PEM, the oldest first.
func encodeCertificates(certificates ...*x509.Certificate) []byte {
	certificates = slices.Clone(certificates)
	slices.SortStableFunc(certificates, func(a, b *x509.Certificate) int {
		if order := a.NotBefore.Compare(b.NotBefore); order != 0 {
			return order
		}
		return a.SerialNumber.Cmp(b.SerialNumber)
	})
	var text bytes.Buffer
	for _, certificate := range certificates {
		_ = pem.Encode(&text, &pem.Block{Type: certificateBlock, Bytes: certificate.Raw}) // Writing to a buffer cannot fail.
	}
	return text.Bytes()
}

// decodePair reads a certificate and its key. They must belong together.
func decodePair(certificate, key []byte) (pair, error) {
	certificates, err := decodeCertificates(certificate)
	if err != nil {
		return pair{}, err
	}
	if len(certificates) != 1 {
		return pair{}, fmt.Errorf("%d certificates, not one", len(certificates))
	}
	block, _ := pem.Decode(key)
	if block == nil || block.Type != keyBlock {
		return pair{}, errors.New("no private key")
	}
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return pair{}, errors.New("the private key can't be read") // The error itself may quote the key.
	}
	ours, ok := private.(*ecdsa.PrivateKey)
	if !ok || !ours.PublicKey.Equal(certificates[0].PublicKey) {
		return pair{}, errors.New("the private key is not the certificate's")
	}
	return pair{certificates[0], ours}, nil
}

// decodeCertificates reads certificates in PEM.
func decodeCertificates(text []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return all, nil
		}
		if block.Type != certificateBlock {
			return nil, fmt.Errorf("a block %q among certificates", block.Type)
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		all = append(all, certificate)
	}
}
