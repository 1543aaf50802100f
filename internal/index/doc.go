// Package index holds what decisions are made from: the grants of every credential by digest, the tenants, and the
// compiled routes. It is pure, has one writer (the feed) and any number of readers, which never lock and never wait: each
// part is immutable once it is visible, and replaced by an atomic store.
package index
