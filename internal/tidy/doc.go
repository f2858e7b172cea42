// Package tidy holds the rules of the house as a test: which package may import
// which, what may not appear where, what must be documented. ARCHITECTURE.md
// explains the floors; the table here enforces them.
//
// There is nothing in it but tests.
package tidy
