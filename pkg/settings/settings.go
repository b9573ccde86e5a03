// SPDX-License-Identifier: Apache-2.0

// Package settings reads and writes the ConfigMap config-signing in Tekton's namespace. It alone defines
// which backend signs, what a failed verification does, and for which namespaces. The add-on and the plugin
// share this package.
package settings

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// ConfigMapName is the name of the ConfigMap in Tekton's namespace.
const ConfigMapName = "config-signing"

// Keys of the ConfigMap.
const (
	KeyBackend      = "enforce-nonfalsifiability" // a signing.Backend; the plan's name for it (TEP-0089)
	KeyEnforcement  = "signing-enforcement"       // audit or enforce
	KeyPolicies     = "policies"                  // none, standard or strict; absent: strict where enforced
	KeyKeepMaterial = "keep-material"             // true: the signing material stays in status.results
	KeyGateChains   = "gate-chains"               // true: Tekton Chains waits until objects are verified
	KeySidecarLogs  = "read-sidecar-logs"         // true: the add-on reads the log of Tekton's results sidecar
	KeyDelivery     = "delivery"                  // auto, image or init
	// A signing.Format: v2, or v1, which is compatible with Tekton's own.
	KeyFormat            = "signing-format"
	KeyMinimumFormat     = "minimum-format"    // a signing.Format; absent: v2 where enforced, any where audited
	KeyMinimumAssurance  = "minimum-assurance" // a signing.Assurance; absent: any
	KeyReceipts          = "receipts"          // fallback or never; absent: fallback where audited, never where enforced
	KeyBinding           = "oidc-binding"      // a signing.Binding: payload, key or audience
	KeyAudience          = "oidc-audience"     // prefix of the audiences of signing tokens
	KeyTokenSeconds      = "oidc-token-expiration-seconds"
	KeyNamespaces        = "namespaces"              // names, joined by commas; absent: all
	KeyNamespaceSelector = "namespace-selector"      // a label selector; absent: all
	KeyExemptAccounts    = "exempt-service-accounts" // namespace/name, joined by commas
	KeyManagedBy         = "managed-by"              // values of spec.managedBy, joined by commas
	KeyCustomRuns        = "custom-run-controllers"  // namespace/name, joined by commas
	KeyPullSecrets       = "pull-secrets"            // names of Secrets, joined by commas
)

// KeyEnforcementAlias is the plan's name for KeyEnforcement. It is read, and never written.
const KeyEnforcementAlias = "enforce-nonfalsifiability-mode"

// keyExample is Tekton's convention for documentation inside of a ConfigMap. It is not a setting.
const keyExample = "_example"

// Delivery is how the signer reaches a pod.
type Delivery string

// The ways of delivery.
const (
	DeliveryAuto  Delivery = "auto"  // an image volume if API server and nodes support it, else an init container
	DeliveryImage Delivery = "image" // an image volume, Kubernetes 1.35 and later
	DeliveryInit  Delivery = "init"  // an init container
)

// Settings are the parsed ConfigMap.
type Settings struct {
	Backend       signing.Backend
	Enforcement   Enforcement // of namespaces without the label LabelEnforcement
	Policies      Policies
	KeepMaterial  bool // leave the signing material in status.results, for archives without messages
	GateChains    bool // hold TaskRuns and PipelineRuns from Tekton Chains until they are verified
	SidecarLogs   bool // the add-on reads the log of Tekton's results sidecar for receipts
	Delivery      Delivery
	Format        signing.Format
	MinimumFormat signing.Format // weaker evidence is FAILED; empty: see MinimumFormatIn
	// MinimumAssurance is the weakest assurance that is accepted; empty: any.
	MinimumAssurance signing.Assurance
	Receipts         Receipts
	Binding          signing.Binding
	Tokens           signing.Tokens
	SPIRE            SPIRE
	Scope            Scope
	Exempt           []Account // service accounts that may still request tokens with any audience
	// ManagedBy are the values of spec.managedBy, in addition to Tekton's own, that are admitted where results
	// are enforced.
	ManagedBy []string
	// CustomRunControllers are the service accounts that may write the status of CustomRuns where the policies
	// are strict.
	CustomRunControllers []Account
	// PullSecrets are names of Secrets with which nodes pull the images of tekton-sign, each in the namespace of
	// the pod. The kubelet ignores names that do not exist.
	PullSecrets []string
}

// Default returns the settings of a cluster without configuration: signing is off.
func Default() Settings {
	return Settings{
		Backend:     signing.BackendNone,
		Enforcement: Audit,
		Policies:    PoliciesAuto,
		Delivery:    DeliveryAuto,
		Format:      signing.FormatV2,
		Binding:     signing.DefaultBinding(signing.FormatV2),
		Tokens:      signing.DefaultTokens(),
		SPIRE:       defaultSPIRE(),
	}
}

// Step returns the settings for the signer of a step.
func (s Settings) Step() step.Options {
	o := step.Options{Backend: s.Backend, Format: s.Format}
	if s.Backend.HasBindings() {
		o.Binding, o.Tokens = s.Binding, s.Tokens
	}
	if s.Backend == signing.BackendSPIRE {
		o.SPIRE = s.SPIRE.Step()
	}
	return o
}

// Fields returns the table of settings, in the order in which status shows them.
func Fields() []Field {
	return slices.Concat(mainFields(), signingFields(), spireFields(), trustedFields(), switches())
}

// unset returns the defaults of all settings except the binding, whose default depends on the format.
func unset() Settings {
	s := Default()
	s.Binding = ""
	return s
}

// Parse reads the data of the ConfigMap. Absent keys have their defaults. Unknown keys and unknown values are
// errors.
func Parse(data map[string]string) (Settings, error) {
	s := unset()
	if err := checkAlias(data); err != nil {
		return Settings{}, err
	}
	for _, key := range slices.Sorted(maps.Keys(data)) {
		if err := s.set(key, data[key]); err != nil {
			return Settings{}, fmt.Errorf("ConfigMap %s: key %s: %w", ConfigMapName, key, err)
		}
	}
	if len(s.Scope.Names) > 0 && s.Scope.Selector != "" {
		return Settings{}, fmt.Errorf("ConfigMap %s: expected one of %s and %s, got both",
			ConfigMapName, KeyNamespaces, KeyNamespaceSelector)
	}
	if err := s.setBinding(); err != nil {
		return Settings{}, fmt.Errorf("ConfigMap %s: keys %s and %s: %w", ConfigMapName, KeyFormat, KeyBinding, err)
	}
	return s, s.checkMinimum()
}

// checkAlias returns an error if the two names of one key have different values.
func checkAlias(data map[string]string) error {
	alias, ok := data[KeyEnforcementAlias]
	value, both := data[KeyEnforcement]
	if !ok || !both || value == alias {
		return nil
	}
	return fmt.Errorf("ConfigMap %s: keys %s and %s: expected the same value, got %q and %q: remove %s",
		ConfigMapName, KeyEnforcement, KeyEnforcementAlias, value, alias, KeyEnforcementAlias)
}

// setBinding sets a binding without a value to its default, which depends on the format.
func (s *Settings) setBinding() error {
	if s.Binding == "" {
		s.Binding = signing.DefaultBinding(s.Format)
	}
	return signing.CheckBinding(s.Format, s.Binding)
}

// ReadEach reads as much as possible of data that Parse refuses. It returns the settings of the valid keys,
// with defaults for the others, and the errors of the invalid keys by key. Use it only to show a broken
// ConfigMap to people; the settings in effect are those that Parse returns.
func ReadEach(data map[string]string) (Settings, map[string]error) {
	s, bad := Default(), map[string]error{}
	for _, key := range slices.Sorted(maps.Keys(data)) {
		read := s
		if err := read.set(key, data[key]); err != nil {
			bad[key] = err
			continue
		}
		s = read
	}
	return s, bad
}

// set sets the field with a key.
func (s *Settings) set(key, value string) error {
	switch key {
	case keyExample:
		return nil
	case KeyEnforcementAlias:
		key = KeyEnforcement
	}
	field, ok := FieldOf(key)
	if !ok {
		return fmt.Errorf("unknown key; remove it, or use a version of tekton-sign that knows it")
	}
	return field.parse(s, value)
}

// ParseDelivery reads the value of the key delivery.
func ParseDelivery(value string) (Delivery, error) {
	return oneOf(value, DeliveryAuto, DeliveryImage, DeliveryInit)
}

// checkMinimum returns an error if every TaskRun would fail.
func (s Settings) checkMinimum() error {
	minimum := s.MinimumFormatIn(s.Enforcement)
	switch {
	case minimum == "" || s.SignedFormat().AtLeast(minimum):
		return nil
	case s.TektonSigns():
		return fmt.Errorf("ConfigMap %s: keys %s and %s: Tekton's own signer signs in format %s and would be refused, "+
			"because at least %s is wanted: set %s to %s (enable --minimum-format %s), or let the add-on sign",
			ConfigMapName, KeySPIRESigner, KeyMinimumFormat, s.SignedFormat(), minimum, KeyMinimumFormat,
			s.SignedFormat(), s.SignedFormat())
	}
	return fmt.Errorf("ConfigMap %s: keys %s and %s: steps would sign in format %s and be refused, because at least %s "+
		"is wanted: "+
		"sign in %s, or set %s to %s", ConfigMapName, KeyFormat, KeyMinimumFormat, s.Format, minimum, minimum,
		KeyMinimumFormat, s.Format)
}

// Data returns the ConfigMap's data for the settings: always backend and enforcement, and every other key
// that differs from its default.
func (s Settings) Data() map[string]string {
	data := map[string]string{}
	for _, f := range Fields() {
		if f.Key == KeyBackend || f.Key == KeyEnforcement || f.differs(s) {
			data[f.Key] = f.value(s)
		}
	}
	return data
}

// parseSeconds reads a number of whole seconds.
func parseSeconds(value string) (time.Duration, error) {
	n, err := strconv.ParseUint(value, 10, 16)
	if err != nil || strconv.FormatUint(n, 10) != value {
		return 0, fmt.Errorf("expected a number of seconds, got %q", value)
	}
	return time.Duration(n) * time.Second, nil
}

func parseBool(value string) (bool, error) {
	word, err := oneOf(value, "true", "false")
	return word == "true", err
}

func oneOf[T ~string](value string, known ...T) (T, error) {
	if slices.Contains(known, T(value)) {
		return T(value), nil
	}
	names := make([]string, len(known))
	for i, k := range known {
		names[i] = string(k)
	}
	return "", fmt.Errorf("expected one of %s, got %q", strings.Join(names, ", "), value)
}
