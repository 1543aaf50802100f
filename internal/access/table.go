package access

// fewKeys is how many keys are compared one by one: up to here that takes less than hashing, and a host, a method and
// the first segment of a path are each one of very few.
const fewKeys = 4

// table maps text to values. The zero value is empty. It must not change once it is read.
type table[V any] struct {
	keys   []string
	values []V
	// many has all of them where they are more than few.
	many map[string]V
}

func (t *table[V]) get(key string) (value V, ok bool) {
	if t.many != nil {
		value, ok = t.many[key]
		return value, ok
	}
	for i := range t.keys {
		if t.keys[i] == key {
			return t.values[i], true
		}
	}
	return value, false
}

// getBytes is get without copying the key.
func (t *table[V]) getBytes(key []byte) (value V, ok bool) {
	if t.many != nil {
		value, ok = t.many[string(key)]
		return value, ok
	}
	for i := range t.keys {
		if t.keys[i] == string(key) {
			return t.values[i], true
		}
	}
	return value, false
}

// add adds a value. The key must not be in the table yet.
func (t *table[V]) add(key string, value V) {
	t.keys, t.values = append(t.keys, key), append(t.values, value)
	switch {
	case t.many != nil:
		t.many[key] = value
	case len(t.keys) > fewKeys:
		t.many = make(map[string]V, len(t.keys))
		for i, key := range t.keys {
			t.many[key] = t.values[i]
		}
	}
}
