package limit

import (
	"bytes"
	"testing"
)

// TestFields counts the fields of header blocks: those of RFC 7541, appendix C, and truncated ones.
func TestFields(t *testing.T) {
	for name, test := range map[string]struct {
		block string
		want  int
	}{
		"nothing":                           {"", 0},
		"C.2.1, a literal that is added":    {"\x40\x0acustom-key\x0dcustom-header", 1},
		"C.2.2, one that isn't":             {"\x04\x0c/sample/path", 1},
		"C.2.3, one that never is":          {"\x10\x08password\x06secret", 1},
		"C.2.4, an indexed one":             {"\x82", 1},
		"C.3.1, a request":                  {"\x82\x86\x84\x41\x0fwww.example.com", 4},
		"C.4.1, the same, Huffman-coded":    {"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff", 4},
		"a table's size, which is none":     {"\x3f\xe1\x1f\x82", 1},
		"a long index":                      {"\xff\x80\x01\x82", 2},
		"a value that is cut off":           {"\x82\x04\x0c/sample", 10},
		"a number without end":              {"\xff\xff\xff\xff\xff\xff", 6},
		"a number that is cut off":          {"\x82\x7f", 2},
		"a length beyond what there can be": {"\x00\x7f\xff\xff\xff\x7f", 6},
	} {
		if got := fields([]byte(test.block)); got != test.want {
			t.Errorf("%s: %d fields, want %d", name, got, test.want)
		}
	}
}

// FuzzFields checks that there are never more fields than bytes.
func FuzzFields(f *testing.F) {
	f.Add([]byte("\x82\x86\x84\x41\x0fwww.example.com"))
	f.Add(bytes.Repeat([]byte{0xbe}, 100))
	f.Fuzz(func(t *testing.T, block []byte) {
		if n := fields(block); n < 0 || n > len(block) {
			t.Errorf("%d fields in %d bytes", n, len(block))
		}
	})
}
