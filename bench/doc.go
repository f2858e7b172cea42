// Package bench measures the whole pipeline - read, split, name, compress, seal,
// verify, store - over a store in memory, on corpora that it makes from fixed
// seeds, beside the primitives that bound it in the same process, stage by stage.
// Benchmarks of what one package does lie beside that package (make bench-packages).
// Of this one only bench/peers makes use, for the corpora.
package bench
