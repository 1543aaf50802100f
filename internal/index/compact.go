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
	count, length := 0, 0
	for _, b := range buckets {
		count, length = count+len(b.records), length+len(b.text)
	}
	records := make([]record, 0, count)
	var texts strings.Builder
	texts.Grow(length)
	for _, b := range buckets {
		records = append(records, b.records...)
		texts.WriteString(b.text)
	}
	text := texts.String()
	for _, b := range buckets {
		if len(b.records) == 0 {
			continue
		}
		moved := *b
		n := len(b.records)
		moved.records, records = records[:n:n], records[n:]
		moved.text, text = text[:len(b.text)], text[len(b.text):]
		c.publish(c.hash(&moved.records[0].digest), &moved)
	}
}
