import { Argument, type Command, type Option } from 'commander'
import type { OpenContext } from './context.ts'

const shells = ['bash', 'zsh', 'fish'] as const
type Shell = (typeof shells)[number]

export function addCompletion(program: Command, open: OpenContext): void {
  program
    .command('completion')
    .description('print a completion script for your shell')
    .addArgument(new Argument('<shell>').choices(shells))
    .addHelpText(
      'after',
      '\nFor example: openseed completion bash > ~/.local/share/bash-completion/completions/openseed',
    )
    .action((shell: Shell) => {
      const script = scripts[shell](program)
      open().print.answer({ shell, script }, () => script)
    })
}

/** One line per place in the command tree: the words typed so far, and what may follow them. */
function* places(command: Command, path: readonly string[] = []): Generator<[string, string[]]> {
  const globals = command.parent ? longNames(rootOf(command).options) : []
  const subcommands = command.commands.map((sub) => sub.name())
  const choices = command.registeredArguments.flatMap(({ argChoices }) => argChoices ?? [])
  yield [path.join(' '), [...subcommands, ...choices, ...longNames(command.options), ...globals, '--help']]
  for (const sub of command.commands) yield* places(sub, [...path, sub.name()])
}

function rootOf(command: Command): Command {
  return command.parent ? rootOf(command.parent) : command
}

function longNames(options: readonly Option[]): string[] {
  return options.flatMap(({ long }) => (long ? [long] : []))
}

const cases = (program: Command) =>
  [...places(program)].map(([path, words]) => `    '${path}') offer='${words.join(' ')}' ;;`).join('\n')

const commandPaths = (program: Command) => [...places(program)].map(([path]) => path).filter(Boolean)

// Options and their values between the words of a command are skipped: only known command paths are followed.
const findPath = (program: Command, wordList: string) => `  for word in ${wordList}; do
    case "|${commandPaths(program).join('|')}|" in *"|\${at:+$at }$word|"*) at="\${at:+$at }$word" ;; esac
  done
  case "$at" in
${cases(program)}
  esac`

const scripts: Record<Shell, (program: Command) => string> = {
  bash: (program) => `_openseed() {
  local word at='' offer=''
${findPath(program, '"${COMP_WORDS[@]:1:COMP_CWORD-1}"')}
  COMPREPLY=($(compgen -W "$offer" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _openseed openseed
`,
  zsh: (program) => `#compdef openseed
_openseed() {
  local word typed=("\${(@)words[2,CURRENT-1]}") at='' offer=''
${findPath(program, '"${typed[@]}"')}
  compadd -- \${=offer}
}
compdef _openseed openseed
`,
  fish: (program) => fishLines(program).join('\n') + '\n',
}

function fishLines(program: Command): string[] {
  const lines = ['complete -c openseed -f']
  for (const [path, words] of places(program)) {
    const typed = path ? `__fish_seen_subcommand_from ${path.split(' ').at(-1)}` : '__fish_use_subcommand'
    for (const word of words) {
      const what = word.startsWith('--') ? `-l ${word.slice(2)}` : `-a ${word}`
      lines.push(`complete -c openseed -n '${typed}' ${what}`)
    }
  }
  return lines
}
