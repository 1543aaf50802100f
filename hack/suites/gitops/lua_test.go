package gitops_test

import (
	"context"
	"fmt"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// sandbox runs a health check as Argo CD does (util/lua there): gopher-lua with the package, base and table libraries
// and nothing else, one second, the object as the global obj. Argo CD also lends the clock of the os library, which a
// check must not need: nothing would run it again when the time has come.
func sandbox(script string, object map[string]any) (argoHealth, string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	state.SetContext(ctx)
	for _, library := range []struct {
		name string
		open lua.LGFunction
	}{{lua.LoadLibName, lua.OpenPackage}, {lua.BaseLibName, lua.OpenBase}, {lua.TabLibName, lua.OpenTable}} {
		call := lua.P{Fn: state.NewFunction(library.open), Protect: true}
		if err := state.CallByParam(call, lua.LString(library.name)); err != nil {
			return "", "", err
		}
	}
	state.SetGlobal("obj", toLua(state, object))
	if err := state.DoString(script); err != nil {
		return "", "", err
	}
	answer, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return "", "", fmt.Errorf("a check returns a table, and this one a %s", state.Get(-1).Type())
	}
	health := argoHealth(lua.LVAsString(answer.RawGetString("status")))
	switch health {
	case healthy, progressing, degraded:
		return health, lua.LVAsString(answer.RawGetString("message")), nil
	}
	return "", "", fmt.Errorf("no check of ours answers %q", health)
}

// toLua takes over what JSON can hold.
func toLua(state *lua.LState, value any) lua.LValue {
	switch v := value.(type) {
	case map[string]any:
		table := state.NewTable()
		for name, entry := range v {
			table.RawSetString(name, toLua(state, entry))
		}
		return table
	case []any:
		table := state.NewTable()
		for _, entry := range v {
			table.Append(toLua(state, entry))
		}
		return table
	case string:
		return lua.LString(v)
	case bool:
		return lua.LBool(v)
	case int64:
		return lua.LNumber(v)
	case float64:
		return lua.LNumber(v)
	}
	return lua.LNil
}
