// Package clean has names like those of other declarations which hide no function and no type of the package.
package clean

import "strings"

type record struct {
	key    string
	length int
}

func key(r record) string { return r.key }

var limit = 1

const most = 2

func fields(r record) record { return record{key: key(r), length: r.length} }

func (r record) method() int { return r.length }

// A variable, a constant or an import of the package may be hidden, and a method or a field has a name of its own.
func others(limit int) int {
	most, strings := limit, strings.ToUpper("a")
	method, length := most, len(strings)
	return method + length
}

func label(r record) {
key:
	for range key(r) {
		continue key
	}
}

func again(a int) int {
	_, a = 1, 2
	func() { a := a; _ = a }()
	return a
}
