// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"strings"

	agentv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/agent/v1"
	spiretypes "github.com/spiffe/spire-api-sdk/proto/spire/api/types"
)

// Agents are SPIRE's agents of this cluster, as its server lists them.
type Agents struct {
	Valid   int `json:"valid"`
	Expired int `json:"expired,omitempty"` // also of nodes that are gone
	Banned  int `json:"banned,omitempty"`
	// Versions counts the valid agents that name their version.
	Versions map[string]int `json:"versions,omitempty"`
}

// maxVersions bounds how many versions are counted apart: agents name their version themselves.
const maxVersions = 8

// Agents counts the agents of this cluster. Only an admin may list them, so an error that wraps PermissionDenied
// means that the add-on is none.
func (e *Entries) Agents(ctx context.Context) (Agents, error) {
	parent, err := e.registerAlias(ctx)
	if err != nil {
		return Agents{}, err
	}
	own := strings.TrimPrefix(parent.GetPath(), e.options.Alias)
	now, found := e.options.Now().Unix(), Agents{Versions: map[string]int{}}
	mask := &spiretypes.AgentMask{X509SvidExpiresAt: true, Banned: true, AgentVersion: true}
	err = e.eachAgent(ctx, mask, func(cluster string, agent *spiretypes.Agent) {
		if cluster == own {
			found.count(agent, now)
		}
	})
	return found, err
}

func (a *Agents) count(agent *spiretypes.Agent, now int64) {
	switch {
	case agent.Banned:
		a.Banned++
	case agent.X509SvidExpiresAt < now:
		a.Expired++
	default:
		a.Valid++
		version := agent.AgentVersion
		if _, known := a.Versions[version]; version != "" && len(version) < 64 && (known || len(a.Versions) < maxVersions) {
			a.Versions[version]++
		}
	}
}

// agentPath begins the path of the SPIFFE ID of an agent; the names of its cluster and of its node follow.
const agentPath = "/spire/agent/k8s_psat/"

// eachAgent calls f with every agent that was attested by k8s_psat, and the name of its cluster.
func (e *Entries) eachAgent(ctx context.Context, mask *spiretypes.AgentMask,
	f func(cluster string, agent *spiretypes.Agent)) error {
	return eachPage("agents", func(token string) (string, error) {
		page, err := e.agents.ListAgents(ctx, &agentv1.ListAgentsRequest{
			Filter:     &agentv1.ListAgentsRequest_Filter{ByAttestationType: "k8s_psat"},
			OutputMask: mask, PageSize: pageSize, PageToken: token,
		})
		if err != nil {
			return "", e.refused("listing agents", err)
		}
		for _, agent := range page.Agents {
			if rest, ok := strings.CutPrefix(agent.Id.GetPath(), agentPath); ok {
				name, _, _ := strings.Cut(rest, "/")
				f(name, agent)
			}
		}
		return page.NextPageToken, nil
	})
}
