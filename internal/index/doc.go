// Package index holds the data that decisions are made from: the grants of all credentials by digest, the tenants, and
// the compiled routes. It is pure. It has one writer (the feed) and any number of readers, which never lock and never
// wait: each part is immutable once it is visible, and is replaced by an atomic store.
package index
