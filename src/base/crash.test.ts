import { spawnSync } from 'node:child_process'
import { expect, test } from 'vitest'

const script = `
  import { crashPoint } from ${JSON.stringify(new URL('crash.ts', import.meta.url).href)}
  crashPoint('first')
  console.log('passed first')
  crashPoint('second')
  console.log('passed second')
`
const runWith = (env: NodeJS.ProcessEnv) =>
  spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    env: { ...process.env, ...env },
    encoding: 'utf8',
  })

test('a process dies by SIGKILL at the named point and passes the others', () => {
  const { signal, stdout } = runWith({ OPENSEED_CRASH_AT: 'second' })
  expect({ signal, stdout }).toEqual({ signal: 'SIGKILL', stdout: 'passed first\n' })
})

test('without the variable every point is passed', () => {
  expect(runWith({ OPENSEED_CRASH_AT: '' }).stdout).toBe('passed first\npassed second\n')
})
