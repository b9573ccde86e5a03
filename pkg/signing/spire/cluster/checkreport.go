// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/cluster"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/spire/config"
)

// reportAge is how old a report may be: the add-on writes one every minute.
const reportAge = 5 * time.Minute

const addOnLog = "kubectl logs -n tekton-sign deployment/tekton-sign-controller"

// checkReport checks what the add-on has reported about its SVID, SPIRE's server and its agents.
func checkReport(ctx context.Context, t cluster.Target) []cluster.Finding {
	r, err := readReport(ctx, t)
	switch {
	case err != nil:
		return []cluster.Finding{unread("what the add-on reports about SPIRE", err)}
	case r == nil:
		return []cluster.Finding{{
			Level: cluster.Warning, Message: "the add-on has not yet reported what it sees of SPIRE",
			Expected: "ConfigMap " + ReportConfigMap, Got: "none", Next: "try again in a minute, or see " + addOnLog,
		}}
	case r.Time.Sub(t.Now) > reportAge:
		return []cluster.Finding{{
			Level: cluster.Warning, Message: "the report of what the add-on sees of SPIRE is from the future",
			Expected: "a report of the last " + reportAge.String(), Got: "one of " + r.Time.Format(time.RFC3339),
			Next: "correct the clock of this machine or of the nodes; if they are right, delete it, and the add-on writes " +
				"another one: kubectl delete configmap -n " + settings.Namespace + " " + ReportConfigMap,
		}}
	case t.Now.Sub(r.Time) > reportAge:
		return []cluster.Finding{{
			Level: cluster.Warning, Message: "the add-on no longer reports what it sees of SPIRE", Next: addOnLog,
			Expected: fmt.Sprintf("a report of the last %s", reportAge), Got: "one of " + r.Time.Format(time.RFC3339),
		}}
	}
	found := slices.Concat(r.checkSVID(t), r.checkAdmin(t))
	if r.Agents != nil {
		found = append(found, r.Agents.check(ctx, t)...)
	}
	return found
}

// checkSVID checks that the add-on's SVID is valid, and one that signs statuses.
func (r *Report) checkSVID(t cluster.Target) []cluster.Finding {
	ids := spire.AddOnIDs(t.Settings.SPIRE.TrustDomain)
	switch {
	case r.SPIFFEID == "":
		return []cluster.Finding{{
			Message: "the add-on has no SVID: " + r.Error, Expected: "an SVID of " + ids[0], Got: "none",
			Next: register(t.Settings.SPIRE),
		}}
	case t.Now.After(r.Expires):
		return []cluster.Finding{{
			Message:  "the add-on's SVID has expired: SPIRE's agent on its node does not renew it",
			Expected: "a valid SVID", Got: "one that was valid until " + r.Expires.Format(time.RFC3339),
			Next: "check the agent and SPIRE's server: kubectl get pods -A -o wide",
		}}
	case !slices.Contains(ids, r.SPIFFEID):
		return []cluster.Finding{{
			Level:    cluster.Warning,
			Message:  "the add-on's SVID cannot sign the status of TaskRuns, because verifiers expect another SPIFFE ID",
			Expected: strings.Join(ids, " or "), Got: r.SPIFFEID,
			Next: "delete its entry, and " + register(t.Settings.SPIRE),
		}}
	}
	return []cluster.Finding{{Level: cluster.Fine, Message: fmt.Sprintf(
		"the add-on's SVID is %s, valid until %s", r.SPIFFEID, r.Expires.Format(time.RFC3339))}}
}

// register returns the command that registers the add-on.
func register(s settings.SPIRE) string {
	admin := ""
	if s.Entries == settings.EntriesAPI {
		admin = "-admin "
	}
	return fmt.Sprintf("spire-server entry create %s-spiffeID %s -parentID spiffe://%s/tekton-sign/agents "+
		"-selector k8s:ns:%s -selector k8s:sa:controller (docs/spire.md has the entry of the parent)",
		admin, spire.AddOnIDs(s.TrustDomain)[0], s.TrustDomain, settings.Namespace)
}

// checkAdmin checks that the add-on reaches SPIRE's entry API as an admin, if it registers TaskRuns.
func (r *Report) checkAdmin(t cluster.Target) []cluster.Finding {
	s := t.Settings.SPIRE
	switch {
	case s.Entries != settings.EntriesAPI || r.SPIFFEID == "":
		return nil
	case r.Denied:
		return []cluster.Finding{{
			Message:  "SPIRE's server does not let the add-on register TaskRuns: no step gets an SVID",
			Expected: r.SPIFFEID + " registered with -admin", Got: r.Error,
			Next: "spire-server entry show -spiffeID " + r.SPIFFEID + ", spire-server entry delete -entryID ID, then " +
				register(s),
		}}
	case r.Error != "":
		return []cluster.Finding{{
			Message:  "the add-on cannot register TaskRuns with SPIRE's server: no step gets an SVID",
			Expected: "an answer of " + s.ServerAddr, Got: r.Error,
			Next: "check SPIRE's server, or correct its address: " +
				setConfig(t, config.KeyServerAddr, "SERVICE.NAMESPACE.svc.cluster.local:PORT"),
		}}
	case r.Agents == nil: // a report of before the settings changed: SPIRE's server was not asked
		return []cluster.Finding{{
			Level: cluster.Warning, Message: "the add-on has not yet asked SPIRE's server whether it may register TaskRuns",
			Expected: "an answer of " + s.ServerAddr, Got: "none", Next: "try again in a minute, or see " + addOnLog,
		}}
	}
	return []cluster.Finding{{
		Level: cluster.Fine, Message: "SPIRE's server at " + s.ServerAddr + " lets the add-on register TaskRuns",
	}}
}

// check checks that there are agents for the nodes, and their version.
func (a *Agents) check(ctx context.Context, t cluster.Target) []cluster.Finding {
	nodes, err := t.Kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return []cluster.Finding{unread("the nodes", err)}
	}
	need := len(lackingDriver(nodes.Items, nil))
	if a.Valid < need {
		return []cluster.Finding{{
			Level: cluster.Warning, Message: "some nodes have no SPIRE agent with a valid SVID: steps there get none",
			Expected: fmt.Sprintf("%d agents, for as many schedulable nodes", need),
			Got:      fmt.Sprintf("%d valid, %d expired, %d banned", a.Valid, a.Expired, a.Banned),
			Next:     "spire-server agent list, and kubectl get pods -A -o wide for the agents of those nodes",
		}}
	}
	return []cluster.Finding{{
		Level: cluster.Fine, Message: fmt.Sprintf("SPIRE's server knows %d agents with a valid SVID", a.Valid),
	}, a.checkVersions()}
}

// oldest is the version that docs/spire.md asks for.
const oldestMajor, oldestMinor = 1, 15

func (a *Agents) checkVersions() cluster.Finding {
	versions := slices.Sorted(maps.Keys(a.Versions))
	for _, version := range versions {
		if isOld(version) {
			return oldVersion("some of SPIRE's agents are", version)
		}
	}
	if len(versions) == 0 {
		return cluster.Finding{
			Level: cluster.Fine, Message: "the version of SPIRE's agents is not checked: they do not name it",
		}
	}
	return cluster.Finding{Level: cluster.Fine, Message: "SPIRE's agents are of version " + strings.Join(versions, ", ")}
}

func oldVersion(who, version string) cluster.Finding {
	return cluster.Finding{
		Level: cluster.Warning, Message: who + " older than what is tested",
		Expected: fmt.Sprintf("SPIRE %d.%d or later", oldestMajor, oldestMinor), Got: version,
		Next: "upgrade SPIRE, its server first",
	}
}

// isOld reports whether a version that can be read is older than the oldest that is tested.
func isOld(version string) bool {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(parts) < 2 {
		return false
	}
	major, err := strconv.Atoi(parts[0])
	minor, other := strconv.Atoi(parts[1])
	return err == nil && other == nil && (major < oldestMajor || major == oldestMajor && minor < oldestMinor)
}
