package record

import "slices"

// remember appends to the history. Of a series of results for which there was nothing
// to do only the last stays: who asks every few minutes whether there is something to
// copy would fill the history. What is too much goes from the kind and destination of
// which there is most, the oldest first.
func (r *Record) remember(a Activity) {
	for i, b := range slices.Backward(r.History) {
		if b.Kind != a.Kind || b.Destination != a.Destination {
			continue
		}
		if a.Idle && b.Idle {
			r.History = slices.Delete(r.History, i, i+1)
		}
		break
	}
	r.History = append(r.History, a)
	for len(r.History) > MaxHistory {
		type series struct {
			k Kind
			d string
		}
		count, first := map[series]int{}, map[series]int{}
		for i, b := range slices.Backward(r.History) {
			s := series{b.Kind, b.Destination}
			count[s]++
			first[s] = i
		}
		most, at := 0, 0
		for s, n := range count {
			if n > most || n == most && first[s] < at {
				most, at = n, first[s]
			}
		}
		r.History = slices.Delete(r.History, at, at+1)
	}
}
