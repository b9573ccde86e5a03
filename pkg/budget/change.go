// SPDX-License-Identifier: Apache-2.0

package budget

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/tekton"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/inject"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// Change is something that makes messages fit. All in one list do so independently of each other.
type Change struct {
	Text     string   `json:"text"`
	Commands []string `json:"commands,omitempty"`
}

// What a change costs: the less it changes for others, the less.
const (
	costDelivery    = 1 // the nodes must support it
	costCompression = 2
	costFormat      = 3 // evidence of earlier runs keeps its own
	costSidecarLogs = 6 // one more container in every pod of the cluster
	costBackend     = 20
	costWeaker      = 40
)

// changes returns what would make the messages of a subject fit, the cheapest first.
func (e *Environment) changes(s *Subject, fit Fit, ways []WayFit) []Change {
	var changes []Change
	if way, ok := e.cheapest(ways); ok {
		changes = append(changes, e.change(way))
	}
	if c, ok := e.receipts(s, fit); ok {
		changes = append(changes, c)
	}
	if n := e.fewer(s); n > 0 {
		changes = append(changes, Change{Text: fmt.Sprintf("have %d fewer steps in the Task", n)})
	}
	if over := fit.fullest().Over; over > 0 && (fit.State == TooLong || fit.State == Lost) {
		changes = append(changes, Change{Text: fmt.Sprintf("emit results that are %d bytes shorter in all", over)})
	}
	return changes
}

// cheapest returns the cheapest way to sign in which messages fit.
func (e *Environment) cheapest(ways []WayFit) (Way, bool) {
	fitting := slices.DeleteFunc(slices.Clone(ways), func(w WayFit) bool {
		return w.State != Fits || !w.signs()
	})
	if len(fitting) == 0 {
		return Way{}, false
	}
	return slices.MinFunc(fitting, func(a, b WayFit) int { return cmp.Compare(e.cost(a.Way), e.cost(b.Way)) }).Way, true
}

func (e *Environment) cost(w Way) int {
	cost := 0
	add := func(n int, differs bool) {
		if differs {
			cost += n
		}
	}
	add(costDelivery, w.Delivery != e.Way.Delivery)
	add(costCompression, w.Compression != e.Way.Compression)
	add(costSidecarLogs, w.ResultsFrom != e.Way.ResultsFrom)
	add(costFormat, w.Format != e.Way.Format || w.Binding != e.Way.Binding)
	add(costWeaker, !w.Format.AtLeast(e.Way.Format) || w.Delivery == inject.DeliveryInit && e.Way.Delivery != w.Delivery)
	add(costBackend, w.Backend != e.Way.Backend)
	return cost
}

// change describes how to get from the current way of signing to another.
func (e *Environment) change(w Way) Change {
	var c Change
	var what []string
	data := map[string]string{}
	if w.Compression != e.Way.Compression {
		what = append(what, "turn on compression of termination messages")
		data["enable-termination-message-compression"] = "true"
	}
	if w.ResultsFrom != e.Way.ResultsFrom {
		what = append(what, "let results travel by "+string(w.ResultsFrom))
		data["results-from"] = string(w.ResultsFrom)
	}
	if len(data) > 0 {
		c.Commands = append(c.Commands, e.patch(data))
	}
	if w.Backend != e.Way.Backend || w.Format != e.Way.Format || w.Binding != e.Way.Binding ||
		w.Delivery != e.Way.Delivery {
		what = append(what, "sign with "+w.String())
		wanted := w.settings(e.Settings)
		if w.Delivery != e.Way.Delivery {
			wanted.Delivery = settings.Delivery(w.Delivery)
		}
		c.Commands = append(c.Commands, e.enable(wanted))
	}
	c.Text = strings.Join(what, ", and ")
	return c
}

// String returns how steps sign, without how results travel.
func (w Way) String() string {
	words := []string{string(w.Backend)}
	if w.Format != "" {
		words = append(words, string(w.Format))
	}
	if w.Binding != "" {
		words = append(words, "binding "+string(w.Binding))
	}
	switch w.Delivery {
	case inject.DeliveryImage:
		words = append(words, "by image volume")
	case inject.DeliveryInit:
		words = append(words, "by init container")
	}
	return strings.Join(words, " ")
}

// Through returns how results and evidence travel.
func (w Way) Through() string {
	return "results by " + string(w.ResultsFrom) + ", compression " + string(w.Compression)
}

// patch returns the command that sets features of Tekton. The Tekton Operator sets them from TektonConfig.
func (e *Environment) patch(data map[string]string) string {
	var pairs []string
	for k, v := range data {
		pairs = append(pairs, fmt.Sprintf("%q:%q", k, v))
	}
	slices.Sort(pairs)
	return fmt.Sprintf(`kubectl patch configmap %s -n %s --type merge -p '{"data":{%s}}'`, tekton.FeatureFlags,
		e.TektonNamespace, strings.Join(pairs, ","))
}

func (e *Environment) enable(s settings.Settings) string {
	return e.Program + " " + enable.Command(s, e.Registry)
}

// receipts returns the change by which receipts take the place of evidence. The results themselves must arrive.
func (e *Environment) receipts(s *Subject, fit Fit) (Change, bool) {
	if fit.State == Lost || !e.leavesEvidence() || e.Settings.ReceiptsIn(s.Mode) {
		return Change{}, false
	}
	if e.simulate(s, e.Way.stock()).State != Fits {
		return Change{}, false
	}
	wanted := e.Settings
	wanted.Receipts = settings.ReceiptsFallback
	return Change{Text: "let receipts take the place of evidence that does not fit", Commands: []string{e.enable(wanted)}},
		true
}

// fewer returns how many steps less would fit, or 0.
func (e *Environment) fewer(s *Subject) int {
	if s.ran != nil {
		return 0 // what the other steps would leave is not known
	}
	for n := 1; n < min(len(s.Spec.Steps), maxFewer); n++ {
		less := *s
		less.Spec.Steps = s.Spec.Steps[n:]
		if e.simulate(&less, e.Way).State == Fits {
			return n
		}
	}
	return 0
}

// maxFewer is how many steps less are tried at most.
const maxFewer = 16
