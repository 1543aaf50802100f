// Package token makes and reads the bearer tokens of this project. It is pure: values in, values out.
//
//	nxc_live_ 7Hk2PqZx 4fQ…(43)…b9 0Qx3Za
//	└ format ┘└── id ─┘└─ secret ─┘└ CRC-32 ┘
//
// The id is public and random. The secret is derived from a root key, the UID of the ApiKey and the id, so that the same
// three always give the same token, and nothing but the root key has to be kept. The checksum tells a typo, or a secret
// scanner's false positive, from a token without a look-up. `nxc_(live|test)_[0-9A-Za-z]{57}` matches every token.
package token
