// SPDX-License-Identifier: Apache-2.0

package budget

import (
	"slices"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/inject"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// Compression is when messages are compressed.
type Compression string

// The ways of compression.
const (
	CompressionOff    Compression = "off"         // this Tekton reads no compressed messages (before v1.13)
	CompressionNeeded Compression = "when-needed" // the signer compresses messages that are too long
	CompressionAlways Compression = "always"      // enable-termination-message-compression is on
)

// Compressions lists the ways of compression.
func Compressions() []Compression {
	return []Compression{CompressionOff, CompressionNeeded, CompressionAlways}
}

// Carrier is how results travel from the pod (Tekton's setting results-from).
type Carrier string

// The carriers.
const (
	Messages    Carrier = "termination-message"
	SidecarLogs Carrier = "sidecar-logs"
)

// Carriers lists the carriers.
func Carriers() []Carrier { return []Carrier{Messages, SidecarLogs} }

// Way is one way to sign.
type Way struct {
	Backend     signing.Backend `json:"backend"`
	Format      signing.Format  `json:"format,omitempty"`
	Binding     signing.Binding `json:"binding,omitempty"`
	Delivery    inject.Delivery `json:"delivery,omitempty"`
	Compression Compression     `json:"compression"`
	ResultsFrom Carrier         `json:"resultsFrom"`
}

// WayOf returns the way of signing that settings ask for.
func WayOf(s settings.Settings, delivery inject.Delivery, compression Compression, from Carrier) Way {
	w := Way{Backend: s.Backend, Compression: compression, ResultsFrom: from}
	if backends.Of(s.Backend).Signs {
		w.Format, w.Delivery = s.Format, delivery
	}
	if s.Backend.HasBindings() {
		w.Binding = s.Binding
	}
	return w
}

// settings returns s with this way of signing.
func (w Way) settings(s settings.Settings) settings.Settings {
	s.Backend = w.Backend
	if w.Format != "" {
		s.Format = w.Format
	}
	if w.Binding != "" {
		s.Binding = w.Binding
	}
	return s
}

// stock returns the way in which no step signs, and results travel as before.
func (w Way) stock() Way {
	for _, d := range backends.Enabled() {
		if !d.Signs {
			w.Backend = d.Name
		}
	}
	w.Format, w.Binding, w.Delivery = "", "", ""
	return w
}

// signs reports whether steps sign.
func (w Way) signs() bool { return backends.Of(w.Backend).Signs }

// ways returns every way from which a cluster can choose: compression can be turned on, not off.
func ways(current Way) []Way {
	var all []Way
	compressions := slices.Compact([]Compression{current.Compression, CompressionAlways})
	for _, w := range kinds(current) {
		for _, w.Compression = range compressions {
			for _, w.ResultsFrom = range Carriers() {
				for _, d := range deliveries(w) {
					w.Delivery = d
					all = append(all, w)
				}
			}
		}
	}
	return all
}

func deliveries(w Way) []inject.Delivery {
	if !w.signs() {
		return []inject.Delivery{""}
	}
	return []inject.Delivery{inject.DeliveryImage, inject.DeliveryInit}
}

// kinds returns each backend with each format and binding, the current one among them.
func kinds(current Way) []Way {
	all := []Way{}
	for _, d := range backends.Enabled() {
		if !d.Signs {
			all = append(all, Way{Backend: d.Name})
			continue
		}
		for _, format := range []signing.Format{signing.FormatV2, signing.FormatV1} {
			for _, binding := range bindings(d.Name, format, current) {
				all = append(all, Way{Backend: d.Name, Format: format, Binding: binding})
			}
		}
	}
	return all
}

// bindings returns those with which a format can sign. The weakest is there only if it is in use.
func bindings(backend signing.Backend, format signing.Format, current Way) []signing.Binding {
	if !backend.HasBindings() {
		return []signing.Binding{""}
	}
	return slices.DeleteFunc(signing.Bindings(), func(b signing.Binding) bool {
		return signing.CheckBinding(format, b) != nil || b == signing.BindingAudience && current.Binding != b
	})
}
