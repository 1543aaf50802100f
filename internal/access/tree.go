package access

import (
	"strings"
)

// foldBuffer is the maximum length of a folded segment that is looked up without allocating.
const foldBuffer = 256

// node is a position in a host's tree of declared paths. It is reached by the path's segments with their case folded.
// So paths that differ by case or by a trailing slash share a node, which keeps each spelling.
type node struct {
	children table[*node]
	// longest is the length of the longest key in children.
	longest int
	// exacts and prefixes are the paths that are declared here, by type, one for each spelling.
	exacts, prefixes []declaredPath
	// suffixed is set if a path with a suffix is declared here: on /products if there is /products.json.
	suffixed bool
}

// declaredPath is a path as an AccessPolicy spells it (without a prefix's trailing slash), and its rules.
type declaredPath struct {
	path  string
	rules *methods
}

// methods are the rules of one path, by method.
type methods struct {
	named table[*Requirement]
	// others is the rule without methods.
	others *Requirement
}

// insert returns the rules of a path, to which the caller adds.
func (n *node) insert(path string, exact bool) *methods {
	if !exact {
		path = strings.TrimSuffix(path, "/")
	}
	if segments := strings.Trim(path, "/"); segments != "" {
		var parent *node
		var last string
		for segment := range strings.SplitSeq(segments, "/") {
			parent, last = n, segment
			n = n.grow(segment)
		}
		if s := stem(last); s != last {
			parent.grow(s).suffixed = true
		}
	}
	paths := &n.prefixes
	if exact {
		paths = &n.exacts
	}
	rules := spelled(*paths, path)
	if rules == nil {
		rules = &methods{}
		*paths = append(*paths, declaredPath{path: path, rules: rules})
	}
	return rules
}

// grow returns the child for a segment, and adds it if it is missing.
func (n *node) grow(segment string) *node {
	key := string(appendFolded(nil, segment))
	child, ok := n.children.get(key)
	if !ok {
		child = &node{}
		n.children.add(key, child)
		n.longest = max(n.longest, len(key))
	}
	return child
}

// child returns the child for a segment, or nil. It uses the buffer if it has to fold.
func (n *node) child(segment string, buf []byte) *node {
	if len(segment) > maxFold*n.longest {
		return nil
	}
	if foldedAlready(segment) {
		child, _ := n.children.get(segment)
		return child
	}
	child, _ := n.children.getBytes(appendFolded(buf, segment))
	return child
}

// find returns the rules of the most specific path that is declared for a request's path, or nil. The most specific
// path is chosen by a lenient reading, and must also match by the strict one.
func (n *node) find(path string) *methods {
	var array [foldBuffer]byte
	buf := array[:0]

	at, rest := n, path
	var parent *node // of the node for last, the segment that was looked up last
	var last string
	var prefix *node // the deepest node with prefixes
	var below string // what of path is below it
	if len(n.prefixes) > 0 {
		prefix, below = n, path
	}
	for rest != "" && rest != "/" {
		parent, last = at, rest[1:]
		if i := strings.IndexByte(last, '/'); i >= 0 {
			last = last[:i]
		}
		rest = rest[1+len(last):]
		if at = at.child(last, buf); at == nil {
			break
		}
		if len(at.prefixes) > 0 {
			prefix, below = at, rest
		}
	}

	// If at is set, it is the node of the whole path.
	if at != nil && len(at.exacts) > 0 {
		return spelled(at.exacts, path)
	}
	if prefix == nil {
		return nil
	}
	// A parent is missing only at the root, where prefix is at.
	whole := rest == "" || rest == "/" // last is the path's last segment
	if prefix != at && whole && parent.declaresButForSuffix(last, buf) {
		return nil
	}
	return spelled(prefix.prefixes, path[:len(path)-len(below)])
}

// declaresButForSuffix reports, for a child without declared paths, whether a declared path differs from it only by a
// suffix.
func (n *node) declaresButForSuffix(segment string, buf []byte) bool {
	child := n.child(stem(segment), buf)
	return child != nil && (child.suffixed || len(child.exacts)+len(child.prefixes) > 0)
}

// spelled returns the rules of the path with exactly this spelling, or nil.
func spelled(paths []declaredPath, path string) *methods {
	for i := range paths {
		if paths[i].path == path {
			return paths[i].rules
		}
	}
	return nil
}
