package programs

import (
	"slices"
	"testing"
)

func TestCompilersCollectGarbageWhereMemoryIsShort(t *testing.T) {
	for name, c := range map[string]struct {
		available  int64
		processors int
		want       []string
	}{
		"unknown":                 {0, 2, nil},
		"4 GiB, two processors":   {4 << 30, 2, []string{"GOGC=off", "GOMEMLIMIT=1024MiB"}},
		"less than that":          {4<<30 - 1, 2, nil},
		"more than they can use":  {64 << 30, 4, []string{"GOGC=off", "GOMEMLIMIT=2048MiB"}},
		"many processors":         {16 << 30, 16, nil},
		"between the two bounds":  {24 << 30, 8, []string{"GOGC=off", "GOMEMLIMIT=1536MiB"}},
		"one processor, 2 GiB":    {2 << 30, 1, []string{"GOGC=off", "GOMEMLIMIT=1024MiB"}},
		"all that is there is 1G": {1 << 30, 1, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if got := compilerMemory(c.available, c.processors); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestTheUsersOwnSettingOfTheCollectorIsKept(t *testing.T) {
	for _, name := range CompilerVariables() {
		t.Run(name, func(t *testing.T) {
			t.Setenv("GOGC", "")
			t.Setenv("GOMEMLIMIT", "")
			t.Setenv(name, "100")
			if got := CompilerMemory(); got != nil {
				t.Errorf("got %q, want none", got)
			}
		})
	}
}
