package proxies

// Spoofed returns sets of headers by which a client may claim an address that it does not have. The first set is empty.
func Spoofed(address string) [][]string {
	return [][]string{
		nil,
		{"X-Forwarded-For: " + address},
		{"X-Forwarded-For: " + address + ", 127.0.0.1"},
		{"X-Forwarded-For: 127.0.0.1, " + address},
		{"Forwarded: for=" + address, "X-Real-IP: " + address, "X-Envoy-External-Address: " + address},
	}
}
