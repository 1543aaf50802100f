package daemon

import "errors"

// CheckTLS checks that a program has either a certificate and its key (--tls-cert-file, --tls-private-key-file) or
// --insecure-plain-text. A program never falls back to plain text.
func CheckTLS(plainText bool, cert, key string) error {
	switch {
	case plainText && (cert != "" || key != ""):
		return errors.New("--insecure-plain-text excludes --tls-cert-file and --tls-private-key-file")
	case !plainText && (cert == "" || key == ""):
		return errors.New("--tls-cert-file and --tls-private-key-file must both be set, or else --insecure-plain-text")
	}
	return nil
}
