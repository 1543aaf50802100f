package index

import "strings"

// compactTogether is how many buckets Compact puts into one block: enough to fill whole pages of memory, and few enough
// that a block is soon free again, once each of its buckets has changed.
const compactTogether = 32

// Compact copies all buckets into contiguous blocks. Every change allocates a bucket elsewhere, and after many changes
// the gaps between the remaining ones are memory that the process can't give back. Only the writer may call it.
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

// compact copies some buckets into one block.
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
