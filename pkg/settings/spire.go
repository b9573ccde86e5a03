// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"fmt"
	"regexp"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire/config"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// Keys of ConfigMap config-signing for the backend spire. The others are in Tekton's ConfigMap config-spire.
const (
	KeySPIRESigner   = "spire-signer"            // a value of Signer
	KeySPIREEntries  = "spire-entries"           // a value of SPIREEntries
	KeySPIREClass    = "spire-class"             // of spire-controller-manager; absent: none
	KeySPIRECluster  = "spire-cluster"           // name of the cluster in SPIRE's k8s_psat attestation; absent: found
	KeySPIREServerID = "spire-server-id"         // SPIFFE ID; absent: that of every SPIRE server
	KeySVIDWait      = "spire-svid-wait-seconds" // how long a step waits for its SVID
)

// Signer is whose program signs in the steps.
type Signer string

// The signers.
const (
	SignerAddOn  Signer = "add-on" // ours, which the inject webhook adds
	SignerTekton Signer = "tekton" // Tekton's own, which signs in format v1
)

// LeaveToTekton is how a person leaves signing to Tekton's own signer.
const LeaveToTekton = "--signer " + string(SignerTekton) + " with backend " + string(signing.BackendSPIRE)

// SPIREEntries is who registers TaskRuns with SPIRE.
type SPIREEntries string

// The ways to register TaskRuns.
const (
	EntriesAPI     SPIREEntries = "api"                // the add-on, by SPIRE's entry API
	EntriesManager SPIREEntries = "controller-manager" // spire-controller-manager, by a ClusterSPIFFEID
	EntriesNone    SPIREEntries = "none"               // somebody else
)

// DefaultSVIDWait is how long a step waits for its SVID.
const DefaultSVIDWait = 30 * time.Second

// SPIRE are the settings of the backend spire.
type SPIRE struct {
	config.Config // ConfigMap config-spire
	Signer        Signer
	Entries       SPIREEntries
	Class         string // className of spire-controller-manager; empty: none
	Cluster       string // name of the cluster in SPIRE's k8s_psat attestation; empty: found
	OtherServerID string // SPIFFE ID of SPIRE's server, if it is not that of every server
	Wait          time.Duration
}

func defaultSPIRE() SPIRE {
	return SPIRE{Config: config.Default(), Signer: SignerAddOn, Entries: EntriesAPI, Wait: DefaultSVIDWait}
}

// ServerID returns the SPIFFE ID that SPIRE's server must have.
func (s SPIRE) ServerID() string { return orElse(s.OtherServerID, s.Config.ServerID()) }

// WithSPIRE returns the settings with the data of Tekton's ConfigMap config-spire, which is nil if there is no
// such ConfigMap.
func (s Settings) WithSPIRE(data map[string]string) (Settings, error) {
	c, err := config.Parse(data)
	if err == nil {
		s.SPIRE.Config = c
	}
	return s, err
}

// TektonSigns reports whether the steps are left to Tekton's own signer.
func (s Settings) TektonSigns() bool {
	return s.Backend == signing.BackendSPIRE && s.SPIRE.Signer == SignerTekton
}

// SignedFormat returns the format in which steps sign.
func (s Settings) SignedFormat() signing.Format {
	if s.TektonSigns() {
		return signing.FormatV1
	}
	return s.Format
}

// AcceptsTektonIn reports whether what Tekton's own signer signs can count in a mode.
func (s Settings) AcceptsTektonIn(mode Enforcement) bool {
	minimum := s.MinimumFormatIn(mode)
	return s.Backend == signing.BackendSPIRE && (minimum == "" || signing.FormatV1.AtLeast(minimum))
}

// StepWait returns how long a step waits for its identity, or 0 if the settings do not define it.
func (s Settings) StepWait() time.Duration {
	if s.Backend != signing.BackendSPIRE {
		return 0
	}
	return s.SPIRE.Wait
}

func parseSigner(value string) (Signer, error) { return oneOf(value, SignerAddOn, SignerTekton) }

// Registers reports whether the add-on registers TaskRuns with SPIRE.
func (s Settings) Registers() bool {
	return s.Backend == signing.BackendSPIRE && s.SPIRE.Entries == EntriesAPI
}

func parseEntries(value string) (SPIREEntries, error) {
	return oneOf(value, EntriesAPI, EntriesManager, EntriesNone)
}

// clusterName is what a path of a SPIFFE ID can have between two slashes.
var clusterName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,253}$`)

func parseClusterName(value string) (string, error) {
	if !clusterName.MatchString(value) || value == "." || value == ".." {
		return "", fmt.Errorf("expected letters, digits, dots, hyphens and underscores, got %q", value)
	}
	return value, nil
}

func parseSPIFFEID(value string) (string, error) {
	if _, err := spiffeid.FromString(value); err != nil {
		return "", fmt.Errorf("expected a SPIFFE ID such as %s, got %q: %w", config.Default().ServerID(), value, err)
	}
	return value, nil
}

// Limits of how long a step waits for its SVID.
const minSVIDWait, maxSVIDWait = time.Second, step.MaxPatience

func checkSVIDWait(d time.Duration) error {
	if d < minSVIDWait || d > maxSVIDWait || d%time.Second != 0 {
		return fmt.Errorf("expected whole seconds, %v to %v, got %v", minSVIDWait, maxSVIDWait, d)
	}
	return nil
}

// spireFields returns the fields of the backend spire.
func spireFields() []Field {
	wait := seconds(KeySVIDWait, "svid-wait", "SVID wait", "how long a step waits for its SVID: 1s to 5m",
		func(s *Settings) *time.Duration { return &s.SPIRE.Wait }, checkSVIDWait)
	wait.Of = signing.BackendSPIRE
	return []Field{
		{
			Key: KeySPIRESigner, Of: signing.BackendSPIRE, Flag: "signer", Name: "signer",
			Only: words([]Signer{SignerAddOn, SignerTekton}),
			Help: "who signs in the steps: add-on, tekton (Tekton's own signer, in format v1; turn it on in ConfigMap " +
				"feature-flags first)",
			access: word(func(s *Settings) *Signer { return &s.SPIRE.Signer }, parseSigner),
		},
		{
			Key: KeySPIREEntries, Of: signing.BackendSPIRE, Flag: "spire-entries", Name: "SPIRE entries",
			Only: words([]SPIREEntries{EntriesAPI, EntriesManager, EntriesNone}),
			Help: "who registers TaskRuns with SPIRE: api (the add-on, whose SVID must be that of an admin), " +
				"controller-manager (spire-controller-manager, best effort), none (you do)",
			access: word(func(s *Settings) *SPIREEntries { return &s.SPIRE.Entries }, parseEntries),
		},
		{
			Key: KeySPIREClass, Of: signing.BackendSPIRE, Flag: "spire-class", Name: "SPIRE class",
			Help:   "class of spire-controller-manager, with --spire-entries controller-manager (default: none)",
			access: word(func(s *Settings) *string { return &s.SPIRE.Class }, parseClusterName),
			text:   func(s Settings) string { return orElse(s.SPIRE.Class, "none") },
		},
		{
			Key: KeySPIRECluster, Of: signing.BackendSPIRE, Flag: "spire-cluster", Name: "SPIRE cluster",
			Help: "name of this cluster in the k8s_psat node attestation of SPIRE " +
				"(default: the one that its agents have, if that is the same)",
			access: word(func(s *Settings) *string { return &s.SPIRE.Cluster }, parseClusterName),
			text:   func(s Settings) string { return orElse(s.SPIRE.Cluster, "that of the agents") },
		},
		{
			Key: KeySPIREServerID, Of: signing.BackendSPIRE, Flag: "spire-server-id", Name: "SPIRE server",
			Help:   "SPIFFE ID of SPIRE's server (default: spiffe://TRUST-DOMAIN/spire/server)",
			access: word(func(s *Settings) *string { return &s.SPIRE.OtherServerID }, parseSPIFFEID),
			text:   func(s Settings) string { return s.SPIRE.ServerID() },
		},
		wait,
	}
}

// With returns the settings in other data of ConfigMap config-signing, and what s has from Tekton's own ConfigMaps.
func (s Settings) With(data map[string]string) (Settings, error) {
	read, err := Parse(data)
	if err == nil {
		read.SPIRE.TrustDomain = s.SPIRE.TrustDomain
	}
	return read, err
}
