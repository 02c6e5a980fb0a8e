from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('lifecycle', '0014_usage'),
    ]

    operations = [
        migrations.AddField(
            model_name='host',
            name='down_since',
            field=models.DateTimeField(blank=True, null=True, verbose_name='tried in vain since'),
        ),
    ]
