package gitops_test

import (
	"context"
	"fmt"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// sandbox runs a health check as Argo CD does (util/lua there): gopher-lua with the package, base and table libraries
// and nothing else, for at most one second, with the object as the global obj. Argo CD also provides the clock of the
// os library, which a check must not need: nothing would run it again when the time has come.
func sandbox(script string, object map[string]any) (argoHealth, string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	interpreter := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer interpreter.Close()
	interpreter.SetContext(ctx)
	for _, library := range []struct {
		name string
		open lua.LGFunction
	}{{lua.LoadLibName, lua.OpenPackage}, {lua.BaseLibName, lua.OpenBase}, {lua.TabLibName, lua.OpenTable}} {
		call := lua.P{Fn: interpreter.NewFunction(library.open), Protect: true}
		if err := interpreter.CallByParam(call, lua.LString(library.name)); err != nil {
			return "", "", err
		}
	}
	interpreter.SetGlobal("obj", toLua(interpreter, object))
	if err := interpreter.DoString(script); err != nil {
		return "", "", err
	}
	answer, ok := interpreter.Get(-1).(*lua.LTable)
	if !ok {
		return "", "", fmt.Errorf("a check returns a table, and this one a %s", interpreter.Get(-1).Type())
	}
	health := argoHealth(lua.LVAsString(answer.RawGetString("status")))
	switch health {
	case healthy, progressing, degraded:
		return health, lua.LVAsString(answer.RawGetString("message")), nil
	}
	return "", "", fmt.Errorf("no check of ours answers %q", health)
}

// toLua converts a JSON value.
func toLua(interpreter *lua.LState, value any) lua.LValue {
	switch v := value.(type) {
	case map[string]any:
		table := interpreter.NewTable()
		for name, entry := range v {
			table.RawSetString(name, toLua(interpreter, entry))
		}
		return table
	case []any:
		table := interpreter.NewTable()
		for _, entry := range v {
			table.Append(toLua(interpreter, entry))
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
