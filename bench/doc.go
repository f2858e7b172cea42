// Package bench measures the whole pipeline - read, split, name, compress, seal,
// verify, store - over a store in memory, on corpora that it makes from fixed
// seeds, beside the primitives that bound it in the same process. Benchmarks of
// single stages lie with their packages. Nothing imports this package.
package bench
