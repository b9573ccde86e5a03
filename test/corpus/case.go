// SPDX-License-Identifier: Apache-2.0

// Package corpus generates the cases that every release of the verifier must judge correctly: evidence of
// every format with every change that anyone who can write a TaskRun's status can make, broken files, input
// that is too large, and text that tries to deceive readers of the output. It makes them from a seed; nothing
// is edited by hand.
package corpus

import (
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// Case is one input with its expected verdict.
type Case struct {
	Name   string // group/scheme/what was done
	File   []byte // the input
	Bundle []byte // the trust bundle
	Args   []string
	Plain  bool // without --allow-unrecorded; most files need it, because they carry no record
	Want   Want
}

// Want is the only correct answer to a case.
type Want struct {
	Verdict verify.Verdict // of the worst item; empty if nothing could be read
	Check   verify.CheckID // a check that must prevent VERIFIED; empty if nothing must
	Exit    int
}

// Answers in order of severity, with the exit codes of the command verify.
func verified() Want                 { return Want{Verdict: verify.Verified} }
func failed(id verify.CheckID) Want  { return Want{verify.Failed, id, 4} }
func unreadable() Want               { return Want{Check: "input", Exit: 1} }
func missing(id verify.CheckID) Want { return Want{verify.Indeterminate, id, 2} }
func unsigned() Want                 { return Want{verify.Unsigned, verify.CheckCoverage, 3} }
func nothing() Want                  { return Want{Verdict: verify.NoResults, Exit: 3} }
func unreadableBesideVerified() Want { return Want{verify.Verified, "input", 1} }

// maker makes cases. It stops after the first error.
type maker struct {
	random  *rand.Rand
	cluster *verifytest.Cluster
	root    *verifytest.CA // of the cluster's trust domain
	bundle  []byte
	cases   []Case
	err     error
}

// Generate returns the cases of a seed, in a stable order. The same seed gives the same names, contents and
// answers; keys and signatures are as random as crypto/rand is.
func Generate(seed uint64) ([]Case, error) {
	m := &maker{random: rand.New(rand.NewPCG(seed, seed))} // #nosec G404 -- only values of results come from it
	m.setUp()
	groups := []func(){
		m.evidence, m.records, m.keptMaterial, m.keys, m.parsers, m.resources, m.display, m.hostile,
		m.signedStatuses,
	}
	for _, group := range groups {
		if m.err == nil {
			group()
		}
	}
	if m.err != nil {
		return nil, fmt.Errorf("after case %d: %w", len(m.cases), m.err)
	}
	return m.cases, nil
}

// setUp makes a cluster that issues tokens and, with an intermediate authority, SVIDs.
func (m *maker) setUp() {
	if m.cluster, m.err = verifytest.NewCluster(); m.err != nil {
		return
	}
	if m.root, m.err = verifytest.NewCA(verifytest.TrustDomain); m.err != nil {
		return
	}
	if m.cluster.CA, m.err = m.root.Intermediate(); m.err != nil {
		return
	}
	m.bundle, m.err = m.cluster.Bundle()
}

// add appends a case that is verified with the bundle of the maker's cluster.
func (m *maker) add(name string, file []byte, want Want, args ...string) {
	m.cases = append(m.cases, Case{Name: name, File: file, Bundle: m.bundle, Args: args, Want: want})
}

// sorted iterates over a map in the order of its keys.
func sorted[V any](values map[string]V) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, key := range slices.Sorted(maps.Keys(values)) {
			if !yield(key, values[key]) {
				return
			}
		}
	}
}
