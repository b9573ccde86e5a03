// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// Enforcement is the effect of a failed verification on a TaskRun.
type Enforcement string

// The enforcement modes.
const (
	Audit   Enforcement = "audit"   // record the verdict, never fail a TaskRun
	Enforce Enforcement = "enforce" // fail it, and remove its results
)

// LabelEnforcement is the label of a namespace with its own mode. Its values are those of Enforcement.
const LabelEnforcement = "tekton-sign.dev/enforcement"

// ParseEnforcement reads the value of the key signing-enforcement.
func ParseEnforcement(value string) (Enforcement, error) { return oneOf(value, Audit, Enforce) }

// EnforcementOf returns the mode of a namespace in scope with these labels. A value that is not a mode has no
// effect: an admission policy refuses it, and it never weakens a global enforce.
func (s Settings) EnforcementOf(namespaceLabels map[string]string) Enforcement {
	if namespaceLabels[LabelEnforcement] == string(s.otherEnforcement()) {
		return s.otherEnforcement()
	}
	return s.Enforcement
}

// MinimumFormatIn returns the weakest format that is accepted in a mode; empty: any. Format v1 signs values
// without their names, so enforce requires v2 unless the setting allows v1.
func (s Settings) MinimumFormatIn(mode Enforcement) signing.Format {
	if s.MinimumFormat == "" && mode == Enforce {
		return signing.FormatV2
	}
	return s.MinimumFormat
}

// Receipts is whether a receipt covers steps that left no evidence, with a backend that signs in pods.
type Receipts string

// The values of the key receipts.
const (
	ReceiptsAuto     Receipts = "" // fallback where results are audited, never where they are enforced
	ReceiptsFallback Receipts = "fallback"
	ReceiptsNever    Receipts = "never"
)

// ParseReceipts reads the value of the key receipts.
func ParseReceipts(value string) (Receipts, error) {
	return oneOf(value, ReceiptsFallback, ReceiptsNever)
}

// ReceiptsIn reports whether receipts are accepted in a mode. With the backend receipt they always are.
func (s Settings) ReceiptsIn(mode Enforcement) bool {
	switch {
	case s.Backend == signing.BackendReceipt || s.Receipts == ReceiptsFallback:
		return true
	case s.Receipts == ReceiptsNever:
		return false
	}
	return mode == Audit
}

func (s Settings) otherEnforcement() Enforcement {
	if s.Enforcement == Enforce {
		return Audit
	}
	return Enforce
}

// EnforcementSelector selects the namespaces in scope whose mode is mode, as EnforcementOf decides. The
// selectors of the two modes are complementary within the scope.
func (s Settings) EnforcementSelector(mode Enforcement, reserved []string) *metav1.LabelSelector {
	selector := s.Scope.LabelSelector(reserved)
	operator := metav1.LabelSelectorOpIn
	if mode == s.Enforcement {
		operator = metav1.LabelSelectorOpNotIn
	}
	selector.MatchExpressions = append(selector.MatchExpressions, metav1.LabelSelectorRequirement{
		Key: LabelEnforcement, Operator: operator, Values: []string{string(s.otherEnforcement())},
	})
	return selector
}

// Policies is the level of the admission policies that protect signing and verifying (docs/threat-model.md).
type Policies string

// The levels of policies.
const (
	PoliciesAuto Policies = ""     // strict in namespaces whose mode is enforce, standard in the others
	PoliciesNone Policies = "none" // for backends without tokens
	// Restrict who can obtain signing tokens, and who can exclude a namespace from enforcement.
	PoliciesStandard Policies = "standard"
	// Also restrict who can create, exec into or imitate a TaskRun's pod, and who can write its status.
	PoliciesStrict Policies = "strict"
)

// ParsePolicies reads the value of the key policies.
func ParsePolicies(value string) (Policies, error) {
	return oneOf(value, levels()...)
}

// levels are the values of the key policies.
func levels() []Policies { return []Policies{PoliciesNone, PoliciesStandard, PoliciesStrict} }

// StrictSelector selects the namespaces in scope in which the strict policies apply. It may select nothing.
func (s Settings) StrictSelector(reserved []string) *metav1.LabelSelector {
	switch s.Policies {
	case PoliciesStrict:
		return s.Scope.LabelSelector(reserved)
	case PoliciesAuto:
		return s.EnforcementSelector(Enforce, reserved)
	case PoliciesNone, PoliciesStandard:
	}
	return nothing(reserved)
}

// GateSelector selects the namespaces in which the gate holds objects from Tekton Chains: those in scope, or
// none.
func (s Settings) GateSelector(reserved []string) *metav1.LabelSelector {
	if !s.GateChains {
		return nothing(reserved)
	}
	return s.Scope.LabelSelector(reserved)
}

// GateSelectorIn selects those of them whose mode is mode.
func (s Settings) GateSelectorIn(mode Enforcement, reserved []string) *metav1.LabelSelector {
	if !s.GateChains {
		return nothing(reserved)
	}
	return s.EnforcementSelector(mode, reserved)
}

// nothing returns a selector that matches no namespace, because its two requirements contradict each other.
func nothing(reserved []string) *metav1.LabelSelector {
	selector := &metav1.LabelSelector{}
	nameIs(selector, metav1.LabelSelectorOpIn, slices.Clone(reserved))
	nameIs(selector, metav1.LabelSelectorOpNotIn, slices.Clone(reserved))
	return selector
}
