package sim

import (
	"fmt"
	"os"
	"strconv"
	"testing"
)

func TestMain(m *testing.M) {
	code := m.Run()
	RemoveAll()
	os.Exit(code)
}

func TestOne(t *testing.T) {
	trees()
	bases()
	from, n := 1, 1
	if s := os.Getenv("SIM_SEED"); s != "" {
		from, _ = strconv.Atoi(s)
	}
	if s := os.Getenv("SIM_N"); s != "" {
		n, _ = strconv.Atoi(s)
	}
	bad := 0
	var total Tally
	for seed := from; seed < from+n; seed++ {
		out := Play(t, uint64(seed), Options{Verbose: n == 1, Bug: Bug(os.Getenv("SIM_BUG")), Deaf: os.Getenv("SIM_DEAF") != ""})
		if n == 1 {
			for _, l := range out.Trace {
				fmt.Println(l)
			}
			fmt.Printf("%+v %x\n", out.Tally, out.Hash)
		}
		total.Steps += out.Tally.Steps
		total.Audits += out.Tally.Audits
		if out.Wrong != nil {
			bad++
			t.Errorf("seed %d: %v", seed, out.Wrong)
			if bad > 8 {
				break
			}
		}
	}
	t.Logf("%+v", total)
}
