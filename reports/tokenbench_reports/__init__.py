"""The built-in report formats, and the ledger of published numbers that they show beside a run's own."""

from __future__ import annotations

from tokenbench import Register, hookimpl


@hookimpl
def tokenbench_register_reports(register: Register) -> None:
    """Register every built-in report format."""
    register("csv", "tokenbench_reports.csv_tables:CsvReport")
    register("details", "tokenbench_reports.details:DetailsReport")
    register("figures", "tokenbench_reports.figures:FiguresReport")
    register("html", "tokenbench_reports.html:HtmlReport")
    register("html-full", "tokenbench_reports.html:FullHtmlReport")
    register("json", "tokenbench_reports.json_file:JsonReport")
    register("latex", "tokenbench_reports.latex:LatexReport")
    register("markdown", "tokenbench_reports.markdown:MarkdownReport")
    register("mlflow", "tokenbench_reports.mlflow_runs:MlflowReport")
    register("terminal", "tokenbench_reports.terminal:TerminalReport")
    register("wandb", "tokenbench_reports.wandb_run:WandbReport")


@hookimpl
def tokenbench_register_commands(register: Register) -> None:
    """Register the commands that list and verify published numbers, and that publish runs."""
    register("claims", "tokenbench_reports.claims.command:claims")
    register("publish", "tokenbench_reports.publish.command:publish")
    register("verify", "tokenbench_reports.claims.verifying:verify")
