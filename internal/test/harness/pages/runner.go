package pages

import "testing"

// Runner holds the blocks that are still to be applied or run.
type Runner struct {
	name   string
	blocks []Block
}

// For returns the blocks that name a runner. There must be some.
func For(t testing.TB, name string) *Runner {
	t.Helper()
	r := &Runner{name: name}
	for _, p := range Run(t) {
		for _, b := range p.Blocks {
			if b.Runner == name && b.Exempt == "" && verbs[b.Language] != "" {
				r.blocks = append(r.blocks, b)
			}
		}
	}
	if len(r.blocks) == 0 {
		t.Fatalf("no block is run by %s", name)
	}
	return r
}

// Take returns the blocks of a section of a page, whose section is empty before the first heading of the second level.
// There must be some. They are the caller's to run.
func (r *Runner) Take(t testing.TB, page, section string) []Block {
	t.Helper()
	var taken, rest []Block
	for _, b := range r.blocks {
		if b.Page == page && b.Section == section {
			taken = append(taken, b)
		} else {
			rest = append(rest, b)
		}
	}
	if len(taken) == 0 {
		t.Fatalf("%s has no block left for %s under %q", page, r.name, section)
	}
	r.blocks = rest
	return taken
}

// TakeAll returns the blocks of a language.
func (r *Runner) TakeAll(language string) []Block {
	var taken, rest []Block
	for _, b := range r.blocks {
		if b.Language == language {
			taken = append(taken, b)
		} else {
			rest = append(rest, b)
		}
	}
	r.blocks = rest
	return taken
}

// Done fails the test if a block has not been taken.
func (r *Runner) Done(t testing.TB) {
	t.Helper()
	for _, b := range r.blocks {
		t.Errorf("%s is to be run by %s, which has not done it", b, r.name)
	}
}
