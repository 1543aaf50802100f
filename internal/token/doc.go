// Package token makes and reads the bearer tokens of this project. It is pure: values in, values out.
//
//	nxc_live_ 7Hk2PqZx 4fQ…(43)…b9 0Qx3Za
//	└ format ┘└── id ─┘└─ secret ─┘└ CRC-32 ┘
//
// The ID is public and random. The secret is derived from a root key, the UID of the ApiKey and the ID. The same three
// always give the same token, so only the root key has to be stored. The checksum distinguishes a token from a typo, or
// from a secret scanner's false positive, without a look-up. `nxc_(live|test)_[0-9A-Za-z]{57}` matches every token.
package token
