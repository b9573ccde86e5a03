// SPDX-License-Identifier: Apache-2.0

// Package status holds the state of signing in a cluster: checks, their outcome, settings and verdicts. It holds data
// and what follows from it, without clients; package checks reads a cluster.
//
// Every string may hold text from the cluster: escape it before you show it to a person.
package status

import (
	"fmt"
	"strings"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// Status is the state of signing in one cluster.
type Status struct {
	Outcome     Outcome   `json:"outcome"`
	Environment Versions  `json:"environment"`
	Settings    *Settings `json:"settings,omitempty"` // absent: they could not be read, or there are none
	AddOn       *AddOn    `json:"addOn,omitempty"`    // absent: there is none, or it could not be read
	Checks      []Check   `json:"checks"`
	Verdicts    *Verdicts `json:"verdicts,omitempty"` // absent: not asked for, or they could not be read
	Summary     Summary   `json:"summary"`
}

// Outcome sums up the checks. The zero value does not mean success.
type Outcome string

// The outcomes, the strongest first: when several apply, the first of them counts.
const (
	Broken   Outcome = "broken"   // a check failed: signing or enforcement does not do what the settings say
	Unknown  Outcome = "unknown"  // something could not be read
	Off      Outcome = "off"      // signing is off
	Warnings Outcome = "warnings" // nothing but warnings
	Healthy  Outcome = "healthy"
)

// Outcomes lists every outcome, the strongest first.
func Outcomes() []Outcome { return []Outcome{Broken, Unknown, Off, Warnings, Healthy} }

// Versions are the versions of what the add-on works with.
type Versions struct {
	Kubernetes      string `json:"kubernetes,omitempty"`
	Tekton          string `json:"tekton,omitempty"`
	TektonNamespace string `json:"tektonNamespace,omitempty"`
}

// Settings are the settings in ConfigMap config-signing, and the modes of the namespaces.
type Settings struct {
	Namespace  string          `json:"namespace"` // of the ConfigMap
	ConfigMap  string          `json:"configMap"`
	Values     []Setting       `json:"values"`
	Namespaces *NamespaceModes `json:"namespaces,omitempty"` // absent: they could not be listed
}

// Setting is one key of the ConfigMap.
type Setting struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	Key     string `json:"key"`
	Default bool   `json:"default"` // the key is absent
}

// NamespaceModes counts the namespaces by what happens there when a verification fails.
type NamespaceModes struct {
	InScope int             `json:"inScope"`
	Audit   int             `json:"audit"`
	Enforce int             `json:"enforce"`
	Other   []NamespaceMode `json:"other,omitempty"` // those in scope whose label asks for another mode
}

// NamespaceMode is the mode of a namespace with a label of its own.
type NamespaceMode struct {
	Namespace   string `json:"namespace"`
	Enforcement string `json:"enforcement"`
}

// AddOn is the Deployment of the add-on.
type AddOn struct {
	Namespace       string `json:"namespace"`
	Version         string `json:"version,omitempty"` // from its label
	Replicas        int    `json:"replicas"`          // wanted
	Available       int    `json:"available"`
	Updated         int    `json:"updated"`
	ControllerImage string `json:"controllerImage,omitempty"`
	SignerImage     string `json:"signerImage,omitempty"`
}

// Part is the part of an installation that a check is about.
type Part string

// The parts, in the order in which they are shown.
const (
	PartCluster      Part = "cluster"
	PartSettings     Part = "settings"
	PartAddOn        Part = "add-on"
	PartInstallation Part = "installation" // the objects that enable makes
	PartTekton       Part = "tekton"
	PartVerdicts     Part = "verdicts"
)

// Parts lists every part.
func Parts() []Part {
	return []Part{PartCluster, PartSettings, PartAddOn, PartInstallation, PartTekton, PartVerdicts}
}

// CheckID identifies a kind of check. The ids are stable; docs/operations.md lists them.
type CheckID string

// The checks.
const (
	CheckCluster           CheckID = "cluster"
	CheckSettings          CheckID = "settings"
	CheckNamespaces        CheckID = "namespaces"
	CheckEnforcementLabels CheckID = "enforcement-labels"
	CheckPolicies          CheckID = "policies"
	CheckDeployment        CheckID = "deployment"
	CheckVersion           CheckID = "version"
	CheckImages            CheckID = "images"
	CheckWebhookPort       CheckID = "webhook-port"
	CheckSignerImage       CheckID = "signer-image"
	CheckDelivery          CheckID = "delivery"
	CheckLeader            CheckID = "leader"
	CheckClock             CheckID = "clock"
	CheckCertificate       CheckID = "certificate"
	CheckTrustHistory      CheckID = "trust-history"
	CheckObjects           CheckID = "objects"
	CheckGrants            CheckID = "grants"
	CheckPodStatus         CheckID = "pod-status"
	CheckBackend           CheckID = "backend"
	CheckLeftOver          CheckID = "left-over"
	CheckTekton            CheckID = "tekton"
	CheckTektonSigner      CheckID = "tekton-signer"
	CheckBackoff           CheckID = "backoff"
	CheckSidecarLogs       CheckID = "sidecar-logs"
	CheckVerdicts          CheckID = "verdicts"
)

// CheckIDs lists every check.
func CheckIDs() []CheckID {
	return []CheckID{
		CheckCluster, CheckSettings, CheckNamespaces, CheckEnforcementLabels, CheckPolicies, CheckDeployment,
		CheckVersion, CheckImages, CheckWebhookPort, CheckSignerImage, CheckDelivery, CheckLeader, CheckClock,
		CheckCertificate, CheckTrustHistory, CheckObjects, CheckGrants, CheckPodStatus, CheckBackend, CheckLeftOver,
		CheckTekton, CheckTektonSigner, CheckBackoff, CheckSidecarLogs, CheckVerdicts,
	}
}

// Check is the result of checking one thing. Its status is one of package verify's, except Missing.
type Check struct {
	ID       CheckID       `json:"id"`
	Part     Part          `json:"part"`
	Status   verify.Status `json:"status"`
	Object   *Object       `json:"object,omitempty"`   // the object that is not as it should be
	Field    string        `json:"field,omitempty"`    // the path of the field in it
	Expected string        `json:"expected,omitempty"` // set with got
	Got      string        `json:"got,omitempty"`
	Message  string        `json:"message"`
	Next     string        `json:"next,omitempty"` // the next step
}

// Object names an object of the cluster.
type Object struct {
	Group     string `json:"group,omitempty"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

// String names the object for people.
func (o Object) String() string {
	if o.Namespace == "" {
		return o.Kind + " " + o.Name
	}
	return o.Kind + " " + o.Namespace + "/" + o.Name
}

// Resource names the object as kubectl -o name does.
func (o Object) Resource() string {
	kind := strings.ToLower(o.Kind)
	if o.Group != "" {
		kind += "." + o.Group
	}
	return kind + "/" + o.Name
}

// Verdicts are the verdicts on completed TaskRuns in scope, read from their conditions.
type Verdicts struct {
	Looked        int       `json:"looked"` // TaskRuns read, in scope or not
	More          bool      `json:"more"`   // the cluster has more TaskRuns than were read
	Verified      int       `json:"verified"`
	Failed        int       `json:"failed"`
	Unsigned      int       `json:"unsigned"`
	Indeterminate int       `json:"indeterminate"`
	NotJudged     int       `json:"notJudged"` // completed, in scope, without the condition: no results, or from before
	Newest        []Verdict `json:"newest,omitempty"`
}

// Verdict is the verdict on one TaskRun.
type Verdict struct {
	Namespace string         `json:"namespace"`
	Name      string         `json:"name"`
	Verdict   verify.Verdict `json:"verdict"`
	At        time.Time      `json:"at"` // when the TaskRun completed
	Message   string         `json:"message,omitempty"`
}

// Add counts a verdict.
func (v *Verdicts) Add(verdict verify.Verdict) {
	switch verdict {
	case verify.Verified:
		v.Verified++
	case verify.Unsigned:
		v.Unsigned++
	case verify.Indeterminate:
		v.Indeterminate++
	case verify.NoResults:
		v.NotJudged++
	case verify.Failed:
		v.Failed++
	default:
		v.Failed++
	}
}

// Judged is how many TaskRuns have a verdict.
func (v *Verdicts) Judged() int { return v.Verified + v.Failed + v.Unsigned + v.Indeterminate }

// Summary counts the checks by status.
type Summary struct {
	Passed   int `json:"passed"`
	Failed   int `json:"failed"`
	Warnings int `json:"warnings"`
	Unknown  int `json:"unknown"`
}

// Conclude counts the checks and derives the outcome. off means that the settings turn signing off.
func (s *Status) Conclude(off bool) {
	s.Summary = Summary{}
	for _, c := range s.Checks {
		switch c.Status {
		case verify.Pass:
			s.Summary.Passed++
		case verify.Warn:
			s.Summary.Warnings++
		case verify.Note:
		case verify.Unknown:
			s.Summary.Unknown++
		case verify.Fail, verify.Missing:
			s.Summary.Failed++
		default:
			s.Summary.Failed++
		}
	}
	switch {
	case s.Summary.Failed > 0:
		s.Outcome = Broken
	case s.Summary.Unknown > 0:
		s.Outcome = Unknown
	case off:
		s.Outcome = Off
	case s.Summary.Warnings > 0:
		s.Outcome = Warnings
	default:
		s.Outcome = Healthy
	}
}

// String returns the outcome as a sentence.
func (s *Status) String() string {
	switch s.Outcome {
	case Healthy:
		return "signing is on, and all is well"
	case Warnings:
		return "signing is on, with " + count(s.Summary.Warnings, "warning")
	case Off:
		return "signing is off"
	case Unknown:
		return count(s.Summary.Unknown, "check") + " could not be made"
	case Broken:
	}
	text := count(s.Summary.Failed, "check") + " failed"
	if s.Summary.Unknown > 0 {
		text += fmt.Sprintf(", %d could not be made", s.Summary.Unknown)
	}
	if s.Summary.Warnings > 0 {
		text += ", " + count(s.Summary.Warnings, "warning")
	}
	return text
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
