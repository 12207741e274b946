// Gowork is the Go guest: maps, strings, sorting, goroutines over a channel, and the
// garbage collector behind them. Its argument is SCALE; 100, the default, is one or two seconds.
package main

import (
	"bufio"
	"os"
	"sort"
	"strconv"
	"strings"
)

type node struct {
	key         uint64
	left, right *node
}

type random uint64

func (r *random) next() uint64 {
	x := uint64(*r)
	x ^= x << 13
	x ^= x >> 7
	x ^= x << 17
	*r = random(x)
	return x
}

func mix(sum, value uint64) uint64 {
	sum = (sum ^ value) * 0x9e3779b97f4a7c15
	return sum ^ sum>>29
}

//go:noinline
func insert(tree *node, key uint64) *node {
	if tree == nil {
		return &node{key: key}
	}
	if key < tree.key {
		tree.left = insert(tree.left, key)
	} else {
		tree.right = insert(tree.right, key)
	}
	return tree
}

//go:noinline
func walk(tree *node, visit func(uint64)) {
	if tree != nil {
		walk(tree.left, visit)
		visit(tree.key)
		walk(tree.right, visit)
	}
}

//go:noinline
func countWords(text string) map[string]int {
	counts := make(map[string]int)
	for _, word := range strings.Fields(text) {
		counts[strings.ToLower(word)]++
	}
	return counts
}

//go:noinline
func makeText(r *random, words int) string {
	var text strings.Builder
	for range words {
		text.WriteString("Word")
		text.WriteString(strconv.FormatUint(r.next()%300, 36))
		text.WriteByte(' ')
	}
	return text.String()
}

// pipeline sends the keys through a goroutine and a channel.
//
//go:noinline
func pipeline(keys []string) uint64 {
	channel := make(chan string, 16)
	go func() {
		defer close(channel)
		for _, key := range keys {
			channel <- key
		}
	}()
	var sum uint64
	for key := range channel {
		for _, letter := range []byte(key) {
			sum = mix(sum, uint64(letter))
		}
	}
	return sum
}

func turn(r *random) uint64 {
	var tree *node
	for range 1000 {
		tree = insert(tree, r.next()>>16)
	}
	var sum uint64
	walk(tree, func(key uint64) { sum = mix(sum, key) })
	counts := countWords(makeText(r, 3000))
	keys := make([]string, 0, len(counts))
	for key := range counts {
		keys = append(keys, key)
	}
	sort.Slice(keys, func(i, j int) bool {
		if counts[keys[i]] != counts[keys[j]] {
			return counts[keys[i]] > counts[keys[j]]
		}
		return keys[i] < keys[j]
	})
	return mix(sum, pipeline(keys))
}

func main() {
	scale := 100
	if len(os.Args) > 1 {
		scale, _ = strconv.Atoi(os.Args[1])
	}
	r := random(88172645463325252)
	var sum uint64
	for range scale * 5 {
		sum = mix(sum, turn(&r))
	}
	out := bufio.NewWriter(os.Stdout)
	out.WriteString("gowork " + strconv.FormatUint(sum, 16) + "\n")
	out.Flush()
}
