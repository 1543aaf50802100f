package index

import "strings"

// compactTogether is how many buckets Compact lays side by side: so many that they fill whole pages of memory, and so few that
// these come free once each of the buckets has changed.
const compactTogether = 32

// Compact moves all that is known of credentials together. Each of many changes leaves a bucket in another place, and what was
// there before is room that the memory's pages have and the process can't give back. For the writer only.
func (c *Credentials) Compact() {
	var buckets []*bucket
	d := c.directory.Load()
	for i := 0; i < len(d.buckets); {
		b := d.buckets[i].Load()
		if buckets = append(buckets, b); len(buckets) == compactTogether {
			c.compact(buckets)
			buckets = buckets[:0]
		}
		i += 1 << (d.depth - b.depth)
	}
	c.compact(buckets)
}

// compact moves some buckets together.
func (c *Credentials) compact(buckets []*bucket) {
	length := 0
	for _, b := range buckets {
		length += len(b.data)
	}
	var together strings.Builder
	together.Grow(length)
	for _, b := range buckets {
		together.WriteString(b.data)
	}
	data := together.String()
	for _, b := range buckets {
		if b.count == 0 {
			continue
		}
		moved := *b
		moved.data, data = data[:len(b.data)], data[len(b.data):]
		digest := moved.at(0).digest()
		c.publish(c.hash(&digest), &moved)
	}
}
