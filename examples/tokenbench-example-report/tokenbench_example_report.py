import tokenbench


class ExampleReport(tokenbench.Report):
    """Writes `example-report.txt`: one line per strategy and budget, then what a reader must know."""

    name = "example-report"
    description = "example-report.txt: accuracy kept of every strategy and budget, as plain text"

    def write(self, comparison, run, folder, out):
        mean = comparison.summary[comparison.summary["task"] == "mean"]
        lines = [
            f"{row.model}  {row.strategy}  {row.budget}  {100 * row.retention:.1f} % of vanilla"
            for row in mean.itertuples()
        ]
        about = run.about()
        if about["spec"]["limit"]:
            lines.append(f"only the first {about['spec']['limit']} samples of each task")
        lines += [*comparison.warnings, *about.get("notes", ())]
        lines += [f"no numbers: {failure['strategy']} ({failure['reason']})" for failure in about.get("failures", ())]
        return [tokenbench.write_text(folder / "example-report.txt", "\n".join(lines) + "\n")]


@tokenbench.hookimpl
def tokenbench_register_reports(register):
    register("example-report", ExampleReport)
