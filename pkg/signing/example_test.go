// SPDX-License-Identifier: Apache-2.0

package signing_test

import (
	"crypto/ed25519"
	"fmt"
	"log"
	"time"

	"github.com/tektoncd/pipeline/pkg/result"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// A unit describes where a step ran and what it emitted. A key signs its message, and a verifier rebuilds the
// unit to verify the signature.
func Example() {
	entries, err := signing.EntriesOf([]result.RunResult{
		{Key: "IMAGE_DIGEST", Value: "sha256:2c26b46b", ResultType: result.TaskRunResultType},
	})
	if err != nil {
		log.Fatal(err)
	}
	unit := signing.Unit{
		Header: signing.Header{
			Scheme: signing.SchemeSPIRE, Algorithm: signing.AlgorithmEd25519, Flags: signing.FlagLast,
			SignedAt: time.Date(2025, 6, 2, 12, 0, 0, 0, time.UTC), Index: 0, Count: 1, Entries: 1,
		},
		Namespace: "ci", TaskRun: "build", Pod: "build-pod", Container: "step-build", Entries: entries,
	}
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	signature, err := unit.Header.Algorithm.Sign(nil, key, unit.Message())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(unit.Header.Algorithm.Verify(key.Public(), unit.Message(), signature))

	unit.Entries[0].Value = "sha256:00000000"
	fmt.Println(unit.Header.Algorithm.Verify(key.Public(), unit.Message(), signature))
	// Output:
	// <nil>
	// the key did not make this signature
}
