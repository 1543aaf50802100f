package tests_test

func own() {}

func external() {
	key := 1 // Another package's.
	own := 2 // want `variable own hides the package's function of that name`
	_, _ = key, own
}
