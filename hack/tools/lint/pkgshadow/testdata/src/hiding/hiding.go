// Package hiding has a case of each kind of name that hides another.
package hiding

type record struct{ next *record }

type pair[A, B any] struct {
	a A
	b B
}

func key() string { return "" }

func length(s string) int { return len(s) }

func variables() int {
	key := key()           // want `variable key hides the package's function of that name`
	var length int         // want `variable length hides the package's function of that name`
	record, length := 1, 2 // want `variable record hides the package's type of that name`
	return len(key) + length + record
}

func parameter(key string) string { return key } // want `parameter key hides the package's function of that name`

func result() (record int) { return 0 } // want `result record hides the package's type of that name`

func (record *record) receiver() *record { return record.next } // want `receiver record hides the package's type of that name`

func literal() func(string) string {
	return func(key string) string { return key } // want `parameter key hides the package's function of that name`
}

func generic[record any](r record) {} // want `type record hides the package's type of that name`

func constant() int {
	const length = 1 // want `constant length hides the package's function of that name`
	return length
}

func local() {
	type key struct{} // want `type key hides the package's function of that name`
	var _ key
}

func loops(all map[string]int) {
	for key := range all { // want `variable key hides the package's function of that name`
		_ = key
	}
	for length := 0; length < 2; length++ { // want `variable length hides the package's function of that name`
	}
}

func branches(v any, c chan int) {
	if key, ok := v.(string); ok { // want `variable key hides the package's function of that name`
		_ = key
	}
	switch record := v.(type) { // want `variable record hides the package's type of that name`
	case int, string:
		_ = record
	}
	select {
	case length := <-c: // want `variable length hides the package's function of that name`
		_ = length
	}
}

// A signature without a body hides nothing yet; what implements it will be written like it.
type keeper interface {
	keep(record int) // want `parameter record hides the package's type of that name`
}

type callback func(key string) // want `parameter key hides the package's function of that name`
