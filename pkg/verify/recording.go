// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"fmt"
	"slices"
	"time"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/record"
)

// Recording is what goes into a record in addition to the result of the verification.
type Recording struct {
	PodUID  types.UID // of the live pod, which belongs to the TaskRun; empty if the add-on did not see it
	At      time.Time // when it was verified
	Version string    // of the add-on
	// Attempts are the numbers of the archived attempts that the add-on verified by a receipt. The condition in
	// an archived status does not show that: anyone who can write the status can set it.
	Attempts []int
}

// NewRecord returns the record of a TaskRun that was verified with result r.
func NewRecord(tr *v1.TaskRun, r Result, more Recording) (record.Record, error) {
	if r.Cluster == nil {
		return record.Record{}, fmt.Errorf("the result names no cluster")
	}
	p := record.Predicate{
		Cluster: r.Cluster.UID, PodUID: string(more.PodUID), Verdict: string(r.Verdict), Backend: string(r.Backend),
		Assurance: string(r.Assurance), VerifiedAt: more.At, AddOnVersion: more.Version, Units: unitsOf(tr),
	}
	if r.Verdict == Verified {
		p.Basis, p.Receipt, p.Attempts = r.Basis, r.Receipt, receiptedAttempts(tr, more.Attempts)
	}
	if p.Basis == "" && len(p.Attempts) > 0 {
		p.Basis = record.BasisEvidence
	}
	if r.Identity != nil {
		p.Keys = r.Identity.KeyIDs
	}
	for _, c := range r.Checks {
		check := record.Check{ID: string(c.ID), Status: string(c.Status)}
		if c.Status != Note && !slices.Contains(p.Checks, check) {
			p.Checks = append(p.Checks, check)
		}
	}
	return record.New(tr, p)
}

// unitsOf describes the evidence of format v2 in the TaskRun. It leaves out units that cannot be rebuilt.
func unitsOf(tr *v1.TaskRun) []record.Unit {
	var units []record.Unit
	steps, _ := Inspect(tr)
	for _, s := range steps {
		header, err := signing.ParseManifest(s.Carriers[signing.CarrierManifest])
		if err != nil {
			continue
		}
		if unit, err := s.Rebuild(header); err == nil {
			units = append(units, record.UnitOf(s.State.Container, unit))
		}
	}
	return units
}

// receiptedAttempts describes the archived attempts that the add-on verified by a receipt.
func receiptedAttempts(tr *v1.TaskRun, numbers []int) []record.Attempt {
	var attempts []record.Attempt
	for _, n := range numbers {
		attempt, err := Attempt(tr, n)
		if err != nil || len(attempts) == record.MaxAttempts {
			continue
		}
		if described, err := record.AttemptOf(attempt, n); err == nil {
			attempts = append(attempts, described)
		}
	}
	return attempts
}
