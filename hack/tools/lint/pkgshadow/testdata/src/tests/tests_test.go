package tests

func fixture() string { return "" }

func inTest() string {
	key := key()         // want `variable key hides the package's function of that name`
	fixture := fixture() // want `variable fixture hides the package's function of that name`
	return key + fixture
}
