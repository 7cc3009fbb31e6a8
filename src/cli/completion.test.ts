import { spawnSync } from 'node:child_process'
import { PassThrough } from 'node:stream'
import { expect, test } from 'vitest'
import { main } from './run.ts'

async function scriptOf(shell: string): Promise<string> {
  const stdout = new PassThrough()
  const io = { stdin: new PassThrough(), stdout, stderr: new PassThrough(), variables: {} }
  await main(['completion', shell], { ...io, signal: new AbortController().signal })
  return String(stdout.read())
}

async function completeInBash(words: string[]): Promise<string[]> {
  const script = await scriptOf('bash')
  const quoted = ['openseed', ...words].map((word) => `'${word}'`).join(' ')
  const ask = `COMP_WORDS=(${quoted}); COMP_CWORD=${words.length}; _openseed; echo "\${COMPREPLY[@]}"`
  const { stdout, stderr } = spawnSync('bash', ['-c', `${script}\n${ask}`], { encoding: 'utf8' })
  expect(stderr).toBe('')
  return stdout.trim().split(' ').filter(Boolean)
}

test.runIf(process.platform !== 'win32')('bash completes commands, what they take, and flags', async () => {
  expect(await completeInBash(['wal'])).toEqual(['wallet'])
  expect(await completeInBash(['wallet', 'ex'])).toEqual(['explain', 'export'])
  expect(await completeInBash(['--json', 'wallet', 'export', 'buyer'])).toEqual(['buyer-authorizer'])
  expect(await completeInBash(['wallet', 'import', '--pass'])).toEqual(['--password-stdin'])
  expect(await completeInBash(['wallet', 'import', '--j'])).toEqual(['--json'])
})

test('fish offers each word at its place', async () => {
  const lines = (await scriptOf('fish')).split('\n')
  expect(lines).toContain("complete -c openseed -n '__fish_use_subcommand' -a wallet")
  expect(lines).toContain("complete -c openseed -n '__fish_seen_subcommand_from export' -l format")
})
