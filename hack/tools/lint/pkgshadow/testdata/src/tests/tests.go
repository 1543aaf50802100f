// Package tests has a function of its own, and its tests have another.
package tests

func key() string { return "" }

// What tests declare is not there when the product is read.
func product(fixture string) string { return fixture }
